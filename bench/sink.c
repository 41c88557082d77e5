/*
 * sink: takes letters and throws them away, as the next hop of the relay benchmarks. One thread a
 * connection. sink PORT COUNTFILE [PEM...]: COUNTFILE is a 64-bit counter that is mapped, so the
 * benchmark sees it grow; with PEMs (key and certificate in one file, each of another kind of key)
 * it offers STARTTLS. It is also the bare OpenSSL server of the handshake benchmarks.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER 65536

static _Atomic uint64_t *taken;
static SSL_CTX *ctx;

struct conn {
    int fd;
    SSL *ssl;
    char buf[BUFFER];
    size_t n, at;
    char out[4096];
    size_t out_n;
};

static bool flush(struct conn *c)
{
    size_t n = c->out_n;

    c->out_n = 0;
    if (n == 0)
        return true;
    return (c->ssl ? SSL_write(c->ssl, c->out, (int)n) : send(c->fd, c->out, n, MSG_NOSIGNAL)) ==
           (ssize_t)n;
}

static bool fill(struct conn *c)
{
    ssize_t k;

    if (!flush(c))
        return false;
    k = c->ssl ? SSL_read(c->ssl, c->buf, sizeof(c->buf)) : recv(c->fd, c->buf, sizeof(c->buf), 0);
    c->n = k > 0 ? (size_t)k : 0;
    c->at = 0;
    return k > 0;
}

static void say(struct conn *c, const char *text)
{
    size_t n = strlen(text);

    if (c->out_n + n > sizeof(c->out))
        flush(c);
    memcpy(c->out + c->out_n, text, n);
    c->out_n += n;
}

static bool line(struct conn *c, char *to, size_t max)
{
    size_t n = 0;

    for (;;) {
        if (c->at == c->n && !fill(c))
            return false;
        char ch = c->buf[c->at++];

        if (ch == '\n')
            break;
        if (n < max - 1)
            to[n++] = ch;
    }
    to[n] = '\0';
    return true;
}

/* Reads to CR LF . CR LF by a small state machine. */
static bool content(struct conn *c)
{
    static const char end[] = "\r\n.\r\n";
    size_t state = 2; /* as if a line had just ended */

    while (state < 5) {
        if (c->at == c->n && !fill(c))
            return false;
        if (state == 0) { /* the common case: on to the next CR */
            char *cr = memchr(c->buf + c->at, '\r', c->n - c->at);

            c->at = cr ? (size_t)(cr - c->buf) : c->n;
            if (!cr)
                continue;
        }
        char ch = c->buf[c->at++];

        state = ch == end[state] ? state + 1 : ch == '\r' ? 1 : 0;
    }
    return true;
}

static bool start_tls(struct conn *c)
{
    say(c, "220 go\r\n");
    if (!flush(c))
        return false;
    c->ssl = SSL_new(ctx);
    SSL_set_fd(c->ssl, c->fd);
    return SSL_accept(c->ssl) == 1;
}

static void *serve(void *arg)
{
    struct conn *c = calloc(1, sizeof(*c));
    char text[1024];
    int one = 1;

    c->fd = (int)(intptr_t)arg;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    say(c, "220 sink.test ESMTP\r\n");
    while (line(c, text, sizeof(text))) {
        if (strncasecmp(text, "EHLO", 4) == 0) {
            say(c, "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n");
            if (ctx && !c->ssl)
                say(c, "250-STARTTLS\r\n");
            say(c, "250 SIZE 100000000\r\n");
        } else if (strncasecmp(text, "STARTTLS", 8) == 0 && ctx) {
            if (!start_tls(c))
                break;
        } else if (strncasecmp(text, "DATA", 4) == 0) {
            say(c, "354 go\r\n");
            if (!content(c))
                break;
            say(c, "250 taken\r\n");
            atomic_fetch_add(taken, 1);
        } else if (strncasecmp(text, "QUIT", 4) == 0) {
            say(c, "221 bye\r\n");
            flush(c);
            break;
        } else {
            say(c, "250 fine\r\n");
        }
    }
    if (c->ssl)
        SSL_free(c->ssl);
    close(c->fd);
    free(c);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    pthread_attr_t detached;
    int one = 1, fd, count;

    if (argc < 3) {
        fprintf(stderr, "usage: sink PORT COUNTFILE [PEM...]\n");
        return 64;
    }
    count = open(argv[2], O_RDWR | O_CREAT, 0644);
    if (count < 0 || ftruncate(count, 8) != 0)
        return 73;
    taken = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, count, 0);
    if (argc > 3)
        ctx = SSL_CTX_new(TLS_server_method());
    for (int i = 3; i < argc; i++)
        if (SSL_CTX_use_certificate_chain_file(ctx, argv[i]) != 1 ||
            SSL_CTX_use_PrivateKey_file(ctx, argv[i], SSL_FILETYPE_PEM) != 1)
            return 78;
    fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    a.sin_port = htons((uint16_t)strtol(argv[1], NULL, 10));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 1024) != 0)
        return 69;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 256 << 10);
    for (;;) {
        int client = accept(fd, NULL, NULL);
        pthread_t t;

        if (client >= 0 && pthread_create(&t, &detached, serve, (void *)(intptr_t)client) != 0)
            close(client);
    }
}
