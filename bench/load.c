/*
 * load: an SMTP load generator. One blocking thread a session; a session sends its letters one
 * after the other, envelope pipelined, waiting for each 250.
 *
 *   load send HOST PORT SESSIONS LETTERS BYTES SECONDS DOMAIN [tls] [letter=FILE]
 *   load tls  HOST PORT SESSIONS 0 0 SECONDS - ecdsa|rsa [resume]
 *   load idle HOST PORT SESSIONS 0 0 0 -
 *
 * send: each session connects, sends LETTERS letters of BYTES octets (or of what FILE holds, in
 * wire form, no line of it beginning with a dot) to u0..u9@DOMAIN, quits, and begins anew until
 * SECONDS have passed. Prints "acked N seconds S failed F". tls: connect, EHLO, STARTTLS,
 * handshake, EHLO, QUIT; the client takes signatures by keys of that kind alone, so a server with
 * both shows the one that is measured. Prints "handshakes N seconds S resumed R failed F". idle:
 * opens SESSIONS connections, each with STARTTLS and EHLO, prints "held N failed F" and holds them
 * until its standard input ends.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_IN 4096
#define PATIENCE_S  30 /* for one answer */
#define IDLE_HANDS  8  /* threads that open the sessions of `idle` */

static struct {
    const char *mode, *host, *domain, *letter;
    int port, sessions, letters;
    size_t bytes;
    double seconds;
    bool tls, resume;
} opt;

static atomic_long acked, failed, handshakes, resumed, held;
static double begin, last_ack;
static char *content;
static size_t content_n;
static SSL_CTX *ctx;

struct conn {
    int fd;
    SSL *ssl;
    char buf[LINE_MAX_IN];
    size_t n, at;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool put(struct conn *c, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = c->ssl ? SSL_write(c->ssl, p, n > 65536 ? 65536 : (int)n)
                           : send(c->fd, p, n, MSG_NOSIGNAL);

        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

/* The next octet, or -1. */
static int octet(struct conn *c)
{
    if (c->at == c->n) {
        ssize_t k = c->ssl ? SSL_read(c->ssl, c->buf, sizeof(c->buf))
                           : recv(c->fd, c->buf, sizeof(c->buf), 0);

        if (k <= 0)
            return -1;
        c->n = (size_t)k;
        c->at = 0;
    }
    return (unsigned char)c->buf[c->at++];
}

/* The code of a reply, or -1. */
static int reply(struct conn *c)
{
    for (;;) {
        char line[LINE_MAX_IN];
        size_t n = 0;
        int ch;

        while ((ch = octet(c)) >= 0 && ch != '\n')
            if (n < sizeof(line) - 1)
                line[n++] = (char)ch;
        if (ch < 0 || n < 4)
            return -1;
        line[n] = '\0';
        if (line[3] != '-')
            return (int)strtol(line, NULL, 10);
    }
}

static bool ask(struct conn *c, const char *line, int want)
{
    return put(c, line, strlen(line)) && reply(c) == want;
}

static bool dial(struct conn *c)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
    struct timeval patience = {PATIENCE_S, 0};
    int one = 1;

    *c = (struct conn){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    inet_pton(AF_INET, opt.host, &a.sin_addr);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return connect(c->fd, (struct sockaddr *)&a, sizeof(a)) == 0 && reply(c) == 220 &&
           ask(c, "EHLO load.test\r\n", 250);
}

static void hang_up(struct conn *c)
{
    if (c->ssl) {
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN); /* else OpenSSL forbids to resume it */
        SSL_free(c->ssl);
    }
    if (c->fd >= 0)
        close(c->fd);
}

static bool starttls(struct conn *c, SSL_SESSION **session)
{
    if (!ask(c, "STARTTLS\r\n", 220))
        return false;
    c->ssl = SSL_new(ctx);
    SSL_set_fd(c->ssl, c->fd);
    if (*session)
        SSL_set_session(c->ssl, *session);
    if (SSL_connect(c->ssl) != 1)
        return false;
    atomic_fetch_add(&handshakes, 1);
    if (SSL_session_reused(c->ssl))
        atomic_fetch_add(&resumed, 1);
    if (!ask(c, "EHLO load.test\r\n", 250))
        return false;
    if (opt.resume) { /* TLS 1.3 tickets have come with the reply */
        SSL_SESSION_free(*session);
        *session = SSL_get1_session(c->ssl);
    }
    return true;
}

static bool letter(struct conn *c, unsigned k)
{
    char envelope[256];
    int n =
        snprintf(envelope, sizeof(envelope),
                 "MAIL FROM:<load@load.test>\r\nRCPT TO:<u%u@%s>\r\nDATA\r\n", k % 10, opt.domain);

    if (!put(c, envelope, (size_t)n) || reply(c) != 250 || reply(c) != 250 || reply(c) != 354)
        return false;
    if (!put(c, content, content_n) || reply(c) != 250)
        return false;
    atomic_fetch_add(&acked, 1);
    last_ack = now(); /* a race of doubles that differ by microseconds */
    return true;
}

/* Opens its share of the idle sessions, and leaves them open. */
static void *idle(void *arg)
{
    SSL_SESSION *none = NULL;

    for (int i = (int)(intptr_t)arg; i < opt.sessions; i += IDLE_HANDS) {
        struct conn *c = calloc(1, sizeof(*c));

        atomic_fetch_add(dial(c) && starttls(c, &none) ? &held : &failed, 1);
    }
    return NULL;
}

static void *session(void *arg)
{
    SSL_SESSION *ticket = NULL;
    unsigned k = (unsigned)(uintptr_t)arg;

    while (now() < begin + opt.seconds) {
        struct conn c;
        bool fine = dial(&c);

        if (fine && (opt.tls || strcmp(opt.mode, "tls") == 0))
            fine = starttls(&c, &ticket);
        for (int i = 0; fine && i < opt.letters && now() < begin + opt.seconds; i++)
            fine = letter(&c, k++);
        if (fine)
            put(&c, "QUIT\r\n", 6);
        else
            atomic_fetch_add(&failed, 1);
        hang_up(&c);
    }
    SSL_SESSION_free(ticket);
    return NULL;
}

static void make_content(void)
{
    static const char head[] = "From: <load@load.test>\r\nSubject: load\r\n\r\n";
    static const char line[] = "This line is sixty-four octets long, CR LF among them, no more\r\n";

    content = malloc(opt.bytes + 256);
    memcpy(content, head, sizeof(head) - 1);
    content_n = sizeof(head) - 1;
    while (content_n + sizeof(line) - 1 <= opt.bytes) {
        memcpy(content + content_n, line, sizeof(line) - 1);
        content_n += sizeof(line) - 1;
    }
    memcpy(content + content_n, ".\r\n", 3);
    content_n += 3;
}

static bool read_content(void)
{
    FILE *f = fopen(opt.letter, "rb");
    long n;

    if (!f || fseek(f, 0, SEEK_END) != 0 || (n = ftell(f)) <= 0)
        return false;
    rewind(f);
    content = malloc((size_t)n + 3);
    content_n = (size_t)n + 3;
    if (fread(content, 1, (size_t)n, f) != (size_t)n)
        return false;
    memcpy(content + n, ".\r\n", 3);
    fclose(f);
    return true;
}

static bool options(int argc, char **argv)
{
    if (argc < 9)
        return false;
    opt.mode = argv[1];
    opt.host = argv[2];
    opt.port = (int)strtol(argv[3], NULL, 10);
    opt.sessions = (int)strtol(argv[4], NULL, 10);
    opt.letters = (int)strtol(argv[5], NULL, 10);
    opt.bytes = strtoul(argv[6], NULL, 10);
    opt.seconds = strtod(argv[7], NULL);
    opt.domain = argv[8];
    ctx = SSL_CTX_new(TLS_client_method());
    for (int i = 9; i < argc; i++) {
        if (strcmp(argv[i], "tls") == 0)
            opt.tls = true;
        else if (strcmp(argv[i], "resume") == 0)
            opt.resume = true;
        else if (strcmp(argv[i], "ecdsa") == 0)
            SSL_CTX_set1_sigalgs_list(ctx, "ECDSA+SHA256");
        else if (strcmp(argv[i], "rsa") == 0)
            SSL_CTX_set1_sigalgs_list(ctx, "RSA-PSS+SHA256");
        else if (strncmp(argv[i], "letter=", 7) == 0)
            opt.letter = argv[i] + 7;
        else
            return false;
    }
    return true;
}

/* Runs n threads of the small kind, and waits for their end. */
static void together(void *(*what)(void *), int n)
{
    pthread_t *threads = calloc((size_t)n, sizeof(*threads));
    pthread_attr_t small;

    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 << 10);
    for (int i = 0; i < n; i++)
        pthread_create(&threads[i], &small, what, (void *)(intptr_t)i);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    free(threads);
}

int main(int argc, char **argv)
{
    if (!options(argc, argv)) {
        fprintf(stderr, "usage: load send|tls|idle HOST PORT SESSIONS LETTERS BYTES SECONDS DOMAIN "
                        "[tls] [resume] [ecdsa|rsa] [letter=FILE]\n");
        return 64;
    }
    if (!opt.letter)
        make_content();
    else if (!read_content())
        return 66;
    begin = last_ack = now();
    if (strcmp(opt.mode, "idle") == 0) {
        together(idle, IDLE_HANDS);
        printf("held %ld failed %ld\n", held, failed);
        fflush(stdout);
        while (getchar() != EOF)
            ;
        return held > 0 ? 0 : 1;
    }
    together(session, opt.sessions);
    if (strcmp(opt.mode, "tls") == 0)
        printf("handshakes %ld seconds %.3f resumed %ld failed %ld\n", handshakes, now() - begin,
               resumed, failed);
    else
        printf("acked %ld seconds %.3f failed %ld\n", acked, last_ack - begin, failed);
    return acked + handshakes > 0 ? 0 : 1;
}
