/* letters-gmime write|read: as letters.c, with GMime. A test's oracle, no part of the product. */
#include <gmime/gmime.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *string(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));

    return s ? s : "";
}

static json_t *base64(const void *p, size_t n)
{
    char *s = g_base64_encode(p, n);
    json_t *j = json_string(s);

    g_free(s);
    return j;
}

/* ---- write --------------------------------------------------------------------------------------
 */

static void add_addresses(GMimeMessage *m, GMimeAddressType type, const json_t *list)
{
    const json_t *a;
    size_t i;

    json_array_foreach(list, i, a) g_mime_message_add_mailbox(
        m, type, json_string_value(json_array_get(a, 0)), json_string_value(json_array_get(a, 1)));
}

static GMimeObject *text_part(const char *subtype, const char *text)
{
    GMimeTextPart *p = g_mime_text_part_new_with_subtype(subtype);

    g_mime_text_part_set_charset(p, "utf-8");
    g_mime_text_part_set_text(p, text);
    return GMIME_OBJECT(p);
}

static GMimeObject *file_part(const json_t *j)
{
    char **type = g_strsplit(string(j, "type"), "/", 2);
    GMimePart *p = g_mime_part_new_with_type(type[0], type[1]);
    gsize n;
    guchar *octets = g_base64_decode(string(j, "octets"), &n);
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer((char *)octets, n);
    GMimeDataWrapper *content =
        g_mime_data_wrapper_new_with_stream(stream, GMIME_CONTENT_ENCODING_DEFAULT);

    g_mime_part_set_content(p, content);
    g_mime_part_set_content_encoding(p, GMIME_CONTENT_ENCODING_BASE64);
    if (*string(j, "name"))
        g_mime_part_set_filename(p, string(j, "name"));
    g_object_unref(content);
    g_object_unref(stream);
    g_free(octets);
    g_strfreev(type);
    return GMIME_OBJECT(p);
}

static json_t *write_letter(const json_t *j)
{
    GMimeFormatOptions *format = g_mime_format_options_clone(NULL);
    GMimeMessage *m = g_mime_message_new(TRUE);
    GMimeMultipart *mixed = g_mime_multipart_new_with_subtype("mixed");
    GMimeObject *part;
    const json_t *p;
    json_t *answer;
    char *letter;
    size_t i;

    g_mime_format_options_set_newline_format(format, GMIME_NEWLINE_FORMAT_DOS);
    add_addresses(m, GMIME_ADDRESS_TYPE_FROM, json_object_get(j, "from"));
    add_addresses(m, GMIME_ADDRESS_TYPE_TO, json_object_get(j, "to"));
    g_mime_message_set_subject(m, string(j, "subject"), "utf-8");
    part = text_part("plain", string(j, "text"));
    g_mime_multipart_add(mixed, part);
    g_object_unref(part);
    if (*string(j, "html")) {
        part = text_part("html", string(j, "html"));
        g_mime_multipart_add(mixed, part);
        g_object_unref(part);
    }
    json_array_foreach(json_object_get(j, "parts"), i, p)
    {
        part = file_part(p);
        g_mime_multipart_add(mixed, part);
        g_object_unref(part);
    }
    g_mime_message_set_mime_part(m, GMIME_OBJECT(mixed));
    g_mime_object_encode(GMIME_OBJECT(m), GMIME_ENCODING_CONSTRAINT_7BIT);
    letter = g_mime_object_to_string(GMIME_OBJECT(m), format);
    answer = json_pack("{s:o}", "letter", base64(letter, strlen(letter)));
    g_free(letter);
    g_object_unref(mixed);
    g_object_unref(m);
    g_mime_format_options_free(format);
    return answer;
}

/* ---- read ---------------------------------------------------------------------------------------
 */

static json_t *addresses(InternetAddressList *list)
{
    json_t *out = json_array();

    for (int i = 0; list && i < internet_address_list_length(list); i++) {
        InternetAddress *a = internet_address_list_get_address(list, i);
        const char *name = internet_address_get_name(a);

        if (INTERNET_ADDRESS_IS_MAILBOX(a))
            json_array_append_new(
                out, json_pack("[ss]", name ? name : "",
                               internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(a))));
    }
    return out;
}

static void leaves(GMimeObject *o, json_t *parts);

static json_t *leaf(GMimePart *p)
{
    GMimeStream *stream = g_mime_stream_mem_new();
    GMimeDataWrapper *content = g_mime_part_get_content(p);
    char *type = g_mime_content_type_get_mime_type(g_mime_object_get_content_type(GMIME_OBJECT(p)));
    const char *name = g_mime_part_get_filename(p);
    char *text = GMIME_IS_TEXT_PART(p) ? g_mime_text_part_get_text(GMIME_TEXT_PART(p)) : NULL;
    GByteArray *octets;
    json_t *j;

    if (content)
        g_mime_data_wrapper_write_to_stream(content, stream);
    octets = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(stream));
    j = json_pack("[ssos]", type, name ? name : "", base64(octets->data, octets->len),
                  text ? text : "");
    g_object_unref(stream);
    g_free(type);
    g_free(text);
    return j;
}

static void leaves(GMimeObject *o, json_t *parts)
{
    if (GMIME_IS_MULTIPART(o)) {
        for (int i = 0; i < g_mime_multipart_get_count(GMIME_MULTIPART(o)); i++)
            leaves(g_mime_multipart_get_part(GMIME_MULTIPART(o), i), parts);
    } else if (GMIME_IS_MESSAGE_PART(o)) {
        leaves(g_mime_message_get_mime_part(g_mime_message_part_get_message(GMIME_MESSAGE_PART(o))),
               parts);
    } else if (GMIME_IS_PART(o)) {
        json_array_append_new(parts, leaf(GMIME_PART(o)));
    }
}

static json_t *read_letter(const json_t *j)
{
    gsize n;
    guchar *octets = g_base64_decode(string(j, "letter"), &n);
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer((char *)octets, n);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    GMimeMessage *m = g_mime_parser_construct_message(parser, NULL);
    json_t *parts = json_array(), *answer;
    const char *subject = g_mime_message_get_subject(m);

    leaves(g_mime_message_get_mime_part(m), parts);
    answer = json_pack("{s:s s:o s:o s:o}", "subject", subject ? subject : "", "from",
                       addresses(g_mime_message_get_from(m)), "to",
                       addresses(g_mime_message_get_to(m)), "parts", parts);
    g_object_unref(m);
    g_object_unref(parser);
    g_object_unref(stream);
    g_free(octets);
    return answer;
}

int main(int argc, char **argv)
{
    bool write = argc == 2 && strcmp(argv[1], "write") == 0;
    char *line = NULL;
    size_t room = 0;

    if (argc != 2)
        return 64;
    g_mime_init();
    while (getline(&line, &room, stdin) > 0) {
        json_t *in = json_loads(line, 0, NULL), *out;

        if (!in)
            return 65;
        out = write ? write_letter(in) : read_letter(in);
        json_dumpf(out, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(in);
        json_decref(out);
    }
    free(line);
    return 0;
}
