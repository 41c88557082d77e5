/*
 * blocklog IMAGE LOG CONTROL MOUNTPOINT: a disk whose every write and flush is written down.
 *
 * MOUNTPOINT/disk is the octets of IMAGE; a loop device is put on it. LOG gets a record for each
 * write and flush, in the order in which they reached the disk: struct record, then the octets of a
 * write. From IMAGE as it was before and LOG, any moment at which the power may go can be put
 * together again: what was flushed is there, of the rest there is anything (harness/disk.py).
 *
 * CONTROL is shared memory by which a test makes the disk fail, or slow.
 * Single-threaded, so that the order of the log is the order of the disk.
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct record {
    uint64_t monotonic_ns;
    uint64_t offset;
    uint32_t length; /* 0: a flush */
    uint32_t error;  /* errno that was answered; the octets did not reach the disk */
};

struct control {
    volatile uint32_t write_error; /* errno for all writes, 0: none */
    volatile uint32_t flush_error;
    volatile uint32_t flush_ms; /* how long a flush takes */
};

static int image, record_log;
static off_t size;
static struct control *control;

static int is_disk(const char *path)
{
    return strcmp(path, "/disk") == 0;
}

static int note(uint64_t offset, uint32_t length, uint32_t error, const char *octets)
{
    struct record r = {.offset = offset, .length = length, .error = error};
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    r.monotonic_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    if (write(record_log, &r, sizeof(r)) != (ssize_t)sizeof(r) ||
        (length && write(record_log, octets, length) != (ssize_t)length))
        abort(); /* a log with holes proves nothing */
    return -(int)error;
}

static int on_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
    memset(st, 0, sizeof(*st));
    st->st_nlink = 1;
    st->st_mode = is_disk(path) ? S_IFREG | 0600 : S_IFDIR | 0700;
    st->st_size = is_disk(path) ? size : 0;
    return is_disk(path) || strcmp(path, "/") == 0 ? 0 : -ENOENT;
}

static int on_open(const char *path, struct fuse_file_info *fi)
{
    fi->direct_io = 1; /* a write is here when the loop device is told that it is done */
    return is_disk(path) ? 0 : -ENOENT;
}

static int on_read(const char *path, char *to, size_t n, off_t at, struct fuse_file_info *fi)
{
    ssize_t r = pread(image, to, n, at);

    return r < 0 ? -errno : (int)r;
}

static int on_write(const char *path, const char *from, size_t n, off_t at,
                    struct fuse_file_info *fi)
{
    uint32_t error = control->write_error;

    if (!error && pwrite(image, from, n, at) != (ssize_t)n)
        abort();
    return note((uint64_t)at, (uint32_t)n, error, from) ? -(int)error : (int)n;
}

static int on_fsync(const char *path, int data, struct fuse_file_info *fi)
{
    usleep(control->flush_ms * 1000);
    return note(0, 0, control->flush_error, NULL);
}

static const struct fuse_operations operations = {
    .getattr = on_getattr,
    .open = on_open,
    .read = on_read,
    .write = on_write,
    .fsync = on_fsync,
};

int main(int argc, char **argv)
{
    char *args[] = {argv[0], (char *)"-f", (char *)"-s", NULL, NULL};
    struct stat st;
    int fd;

    if (argc != 5) {
        fprintf(stderr, "usage: blocklog IMAGE LOG CONTROL MOUNTPOINT\n");
        return 64;
    }
    image = open(argv[1], O_RDWR | O_CLOEXEC);
    record_log = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    fd = open(argv[3], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (image < 0 || fstat(image, &st) != 0 || record_log < 0 || fd < 0 ||
        ftruncate(fd, sizeof(*control)) != 0) {
        perror("blocklog");
        return 66;
    }
    size = st.st_size;
    control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED) {
        perror("blocklog: mmap");
        return 71;
    }
    args[3] = argv[4];
    return fuse_main(4, args, &operations, NULL);
}
