/*
 * ll-keyring: prints one password out of the desktop's keyring (Secret Service API). A program of
 * its own, so that nothing else loads glib and D-Bus.
 *
 *     ll-keyring NAME VALUE [NAME VALUE ...]      attributes of the password, as `secret-tool
 * lookup`
 *
 * Exit status: 0, 66 no such password, 69 no keyring, 64 usage. What is wrong is said on stderr.
 */
#include <libsecret/secret.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#define WAIT_S 120 /* for the user, who may have to unlock the keyring */

#define PAIRS_MAX 8

int main(int argc, char **argv)
{
    /* Attributes alone count: a password that secret-tool or msmtp stored is found too. */
    SecretSchema schema = {.name = "org.freedesktop.Secret.Generic",
                           .flags = SECRET_SCHEMA_DONT_MATCH_NAME};
    GHashTable *attributes = g_hash_table_new(g_str_hash, g_str_equal);
    GError *error = NULL;
    gchar *password;
    int status = 0;

    if (argc < 3 || argc % 2 == 0 || argc > 2 * PAIRS_MAX) {
        fputs("usage: ll-keyring NAME VALUE [NAME VALUE ...]\n", stderr);
        return EX_USAGE;
    }
    for (int i = 1; i < argc; i += 2) {
        schema.attributes[i / 2] = (SecretSchemaAttribute){argv[i], SECRET_SCHEMA_ATTRIBUTE_STRING};
        g_hash_table_insert(attributes, argv[i], argv[i + 1]);
    }
    alarm(WAIT_S);
    password = secret_password_lookupv_nonpageable_sync(&schema, attributes, NULL, &error);
    if (error) {
        fprintf(stderr, "letterlock: no keyring answers: %s\n", error->message);
        status = EX_UNAVAILABLE;
    } else if (!password) {
        fputs("letterlock: the keyring has no such password; store it with\n  secret-tool store "
              "--label=letterlock",
              stderr);
        for (int i = 1; i < argc; i++)
            fprintf(stderr, " '%s'", argv[i]);
        fputc('\n', stderr);
        status = EX_NOINPUT;
    } else if (puts(password) == EOF || fflush(stdout) != 0) {
        status = EX_IOERR;
    }
    secret_password_free(password);
    g_hash_table_destroy(attributes);
    return status;
}
