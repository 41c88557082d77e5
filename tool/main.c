/* letterlock(1): finds the command and runs it. */
#include "tool/sendmail.h"
#include "tool/tool.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#ifndef LL_VERSION
#define LL_VERSION "unknown"
#endif

static const struct ll_sub commands[] = {
#define CMD(name, fn, summary) {name, fn, summary},
#include "tool/commands.def"
#undef CMD
};

static void help(FILE *out)
{
    fputs("usage: letterlock COMMAND [options] [words]\n\ncommands:\n", out);
    for (size_t i = 0; i < LL_COUNT(commands); i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fputs("\nletterlock COMMAND --help tells more; letterlock(1) tells all.\n", out);
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return EX_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("letterlock " LL_VERSION);
        return 0;
    }
    for (size_t i = 0; i < LL_COUNT(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].fn(argc - 1, argv + 1);
    fprintf(stderr, "letterlock: no such command: %s\n", argv[1]);
    help(stderr);
    return EX_USAGE;
}

int main(int argc, char **argv)
{
    int status;

    signal(SIGPIPE, SIG_IGN);
    status = argc > 0 && ll_is_sendmail(argv[0]) ? ll_sendmail(argc, argv) : run(argc, argv);
    /* Output that did not get out is a failure: a full disk must not look like success. A closed
     * pipe (`| head`) is the reader's choice. */
    if (fflush(stdout) != 0 && errno != EPIPE && status == 0)
        status = ll_fail(EX_IOERR, "standard output: %s", strerror(errno));
    return status;
}
