/* Where passwords come from: never the command line, where everybody could read them. */
#include "tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* One line from fd, without its end. False: error, end without a line, or too long. */
static bool read_line(int fd, struct ll_buf *ret)
{
    char c;
    ssize_t n;

    while ((n = read(fd, &c, 1)) == 1 && c != '\n')
        ll_buf_putc(ret, (uint8_t)c);
    if (ret->n > 0 && ret->p[ret->n - 1] == '\r')
        ret->n--;
    return n >= 0 && !ret->failed && ret->n > 0 && !memchr(ret->p, 0, ret->n);
}

static int from_file(const char *path, struct ll_buf *ret)
{
    struct stat st;
    bool ok;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return ll_fail(EX_NOINPUT, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077))
        ll_fail(0, "warning: %s can be read by others (mode %03o)", path,
                (unsigned)st.st_mode & 0777);
    ok = read_line(fd, ret);
    close(fd);
    return ok ? 0 : ll_fail(EX_DATAERR, "%s: no password in its first line", path);
}

/* Runs a program and takes the first line that it prints. *ret_status: how it ended. */
static int from_program(char *const argv[], struct ll_buf *ret, bool *ret_line, int *ret_status)
{
    int out[2];
    pid_t pid;

    if (pipe2(out, O_CLOEXEC) < 0 || (pid = fork()) < 0)
        return ll_fail(EX_OSERR, "%s", strerror(errno));
    if (pid == 0) {
        if (dup2(out[1], STDOUT_FILENO) >= 0)
            execv(argv[0], argv);
        _exit(127);
    }
    close(out[1]);
    *ret_line = read_line(out[0], ret);
    close(out[0]);
    while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
        ;
    return 0;
}

/* The user's own command in the user's own shell, as in `--password-command "pass show mail"`. */
static int from_command(const char *command, struct ll_buf *ret)
{
    char *const argv[] = {(char *)"/bin/sh", (char *)"-c", (char *)command, NULL};
    int ended = 0, status;
    bool ok = false;

    status = from_program(argv, ret, &ok, &ended);
    if (status != 0)
        return status;
    if (!ok)
        return ll_fail(EX_DATAERR, "the password command printed no password");
    /* It may well die of SIGPIPE behind its first line. */
    if (WIFEXITED(ended) && WEXITSTATUS(ended) != 0)
        return ll_fail(EX_UNAVAILABLE, "the password command ended with status %d",
                       WEXITSTATUS(ended));
    return 0;
}

/* build/letterlock has build/libexec/ beside it; /usr/bin/letterlock has /usr/libexec/letterlock/.
 */
static char *keyring_program(void)
{
    static const char *const places[] = {"libexec", "../libexec/letterlock"};
    char self[PATH_MAX], *path = NULL;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n <= 0)
        return NULL;
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < LL_COUNT(places); i++) {
        if (asprintf(&path, "%s/%s/ll-keyring", self, places[i]) < 0)
            return NULL;
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

static int from_keyring(const char *const attributes[], struct ll_buf *ret)
{
    char *argv[16] = {keyring_program()};
    int ended = 0, status;
    bool ok = false;

    if (!argv[0])
        return ll_fail(EX_UNAVAILABLE, "no keyring: the program ll-keyring is not installed; use "
                                       "password-file or password-command");
    for (size_t i = 0; attributes[i] && i + 2 < LL_COUNT(argv); i++)
        argv[i + 1] = (char *)attributes[i];
    status = from_program(argv, ret, &ok, &ended);
    free(argv[0]);
    if (status != 0 || (ok && WIFEXITED(ended) && WEXITSTATUS(ended) == 0))
        return status;
    /* What was wrong, the program has said. */
    return ll_fail(EX_UNAVAILABLE, "no password from the keyring; password-file and "
                                   "password-command need none");
}

static bool ask(int tty, const char *prompt, struct ll_buf *ret)
{
    struct termios old, silent;
    bool ok = false;

    if (write(tty, prompt, strlen(prompt)) < 0 || tcgetattr(tty, &old) < 0)
        return false;
    silent = old;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    if (tcsetattr(tty, TCSAFLUSH, &silent) == 0) {
        ok = read_line(tty, ret);
        tcsetattr(tty, TCSAFLUSH, &old);
    }
    return write(tty, "\n", 1) == 1 && ok;
}

static int from_terminal(bool anew, struct ll_buf *ret)
{
    struct ll_buf again = LL_BUF(LL_PASSWORD_ROOM);
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY), status = 0;

    if (tty < 0)
        return ll_fail(EX_USAGE, "no terminal to ask for the password: give --password-file FILE "
                                 "or --password-stdin");
    ll_buf_room(&again, LL_PASSWORD_ROOM); /* never moved, so never left behind unwiped */
    if (!ask(tty, "Password: ", ret))
        status = ll_fail(EX_DATAERR, "no password given");
    else if (anew && !ask(tty, "Again: ", &again))
        status = ll_fail(EX_DATAERR, "no password given");
    else if (anew && !ll_slice_eq(ll_buf_slice(ret), ll_buf_slice(&again)))
        status = ll_fail(EX_DATAERR, "the two passwords differ");
    close(tty);
    ll_buf_wipe(&again);
    return status;
}

int ll_password_get(const struct ll_password_from *from, bool anew, struct ll_buf *ret)
{
    if ((from->file != NULL) + from->from_stdin + (from->command != NULL) +
            (from->keyring[0] != NULL) >
        1)
        return ll_fail(EX_USAGE, "the password can come from one place only");
    ll_buf_init(ret, LL_PASSWORD_ROOM + 1);
    ll_buf_room(ret, LL_PASSWORD_ROOM + 1);
    if (from->file)
        return from_file(from->file, ret);
    if (from->command)
        return from_command(from->command, ret);
    if (from->keyring[0])
        return from_keyring(from->keyring, ret);
    if (from->from_stdin)
        return read_line(STDIN_FILENO, ret) ? 0 : ll_fail(EX_DATAERR, "no password on stdin");
    return from_terminal(anew, ret);
}
