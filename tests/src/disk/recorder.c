/* Records what a program does to the files of one folder, and makes some of it fail. It is loaded
 * into the program (LD_PRELOAD). A seccomp filter hands every such system call to a handler of
 * SIGSYS, so that nothing escapes: some crates make their calls without libc. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the registers are those of x86_64"
#endif

/* The sixth argument of our own calls, which the filter lets pass. No call here has six. */
#define OWN 0x5ad0d15cUL
#define FILES 4096
#define LONGEST 512

/* The kinds of records; log.rs has the same. */
enum kind { BEGIN, OPEN, WRITE, LENGTH, SYNC, RENAME, UNLINK, MKDIR, RMDIR, CLOSE, DUPLICATE, OTHER };

/* The head of a record: two paths and the data follow. */
struct record {
    uint32_t kind, counted;
    int32_t fd, other;
    int64_t result;
    uint64_t start, end, now, offset, length;
    uint32_t path, second, data, flags;
};

static char folder[LONGEST], paths[FILES][LONGEST];
static int log_file = -1, lock, swallows, only_syncs, is_sticky, shortens;
static uint64_t ticks, calls, fails_at;
static long failure;

static long own(long number, long a, long b, long c, long d, long e) {
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = OWN;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static void enter(void) {
    while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
        own(SYS_sched_yield, 0, 0, 0, 0, 0);
}

static void leave(void) { __atomic_store_n(&lock, 0, __ATOMIC_RELEASE); }

static void append(struct record *head, const char *path, const char *second, const struct iovec *data) {
    struct timespec now;
    own(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0, 0);
    head->end = ++ticks;
    head->now = (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    head->path = path ? strlen(path) : 0;
    head->second = second ? strlen(second) : 0;
    struct iovec parts[3] = {{head, sizeof *head}, {(void *)path, head->path}, {(void *)second, head->second}};
    own(SYS_writev, log_file, (long)parts, 3, 0, 0);
    for (uint64_t left = head->data; left > 0; data++) {
        uint64_t length = data->iov_len < left ? data->iov_len : left;
        own(SYS_write, log_file, (long)data->iov_base, length, 0, 0);
        left -= length;
    }
}

/* Whether a file is one of the folder's. */
static int is_ours(long fd) { return fd >= 0 && fd < FILES && paths[fd][0] != 0; }

/* The whole path, if it is in the folder. */
static const char *resolve(long at, const char *path, char *whole) {
    size_t length = strlen(folder);
    if (!path || path[0] == 0)
        return NULL;
    if (path[0] != '/') {
        if (!is_ours((int)at) || strlen(paths[(int)at]) + strlen(path) + 2 > LONGEST)
            return NULL;
        strcpy(whole, paths[(int)at]);
        strcat(whole, "/");
        strcat(whole, path);
        return whole;
    }
    int is_in = strncmp(path, folder, length) == 0 && (path[length] == 0 || path[length] == '/');
    if (!is_in || strlen(path) >= LONGEST)
        return NULL;
    strcpy(whole, path);
    return whole;
}

/* Counts a call that may fail; returns the error it has to give, or 0. */
static long count(struct record *head) {
    int is_counted = head->kind != CLOSE && head->kind != DUPLICATE;
    if (head->kind == OPEN)
        is_counted = (head->flags & O_CREAT) != 0;
    if (only_syncs || shortens)
        is_counted = head->kind == (only_syncs ? SYNC : WRITE);
    head->start = __atomic_add_fetch(&ticks, 1, __ATOMIC_RELAXED);
    if (!is_counted)
        return 0;
    head->counted = ++calls;
    int is_now = fails_at > 0 && (is_sticky ? calls >= fails_at : calls == fails_at);
    return is_now && !(is_sticky && (head->kind == UNLINK || head->kind == RMDIR)) ? failure : 0;
}

static long begin(struct record *head) {
    enter();
    long error = count(head);
    leave();
    return error;
}

/* A call by paths, one at a time, so that names change in the order of the records. */
static long by_path(struct record *head, long number, long *a, const char *path, const char *second) {
    enter();
    long error = count(head);
    long result = error ? error : own(number, a[0], a[1], a[2], a[3], a[4]);
    head->result = result;
    if (head->kind == OPEN && result >= 0 && result < FILES) {
        strcpy(paths[result], path);
        head->fd = result;
    }
    append(head, path, second, NULL);
    leave();
    return result;
}

static uint64_t total(const struct iovec *parts, long count) {
    uint64_t sum = 0;
    for (long part = 0; part < count; part++)
        sum += parts[part].iov_len;
    return sum;
}

/* A write, of which a failing disk may write a part only. */
static long writing(struct record *head, long number, long *a, struct iovec *parts, long count_of) {
    int has_offset = number == SYS_pwrite64 || number == SYS_pwritev || number == SYS_pwritev2;
    long error = begin(head);
    struct iovec cut = parts[0];
    long result;
    if (error && shortens) {
        cut.iov_len = parts[0].iov_len > 1 ? parts[0].iov_len / 2 : parts[0].iov_len;
        result = has_offset ? own(SYS_pwrite64, a[0], (long)cut.iov_base, cut.iov_len, a[3], 0)
                            : own(SYS_write, a[0], (long)cut.iov_base, cut.iov_len, 0, 0);
        parts = &cut;
        count_of = 1;
    } else {
        result = error ? error : own(number, a[0], a[1], a[2], a[3], a[4]);
    }
    enter();
    head->result = result;
    if (result > 0) {
        long at = has_offset ? a[3] : own(SYS_lseek, a[0], 0, SEEK_CUR, 0, 0) - result;
        head->offset = at;
        head->data = result <= (long)total(parts, count_of) ? result : 0;
    }
    append(head, NULL, NULL, parts);
    leave();
    return result;
}

/* A call about an open file that changes it without data. */
static long on_file(struct record *head, long number, long *a) {
    long error = begin(head);
    int is_swallowed = swallows && number == SYS_fdatasync;
    head->flags = is_swallowed;
    long result = error ? error : is_swallowed ? 0 : own(number, a[0], a[1], a[2], a[3], a[4]);
    enter();
    head->result = result;
    append(head, NULL, NULL, NULL);
    leave();
    return result;
}

static long closing(struct record *head, long *a) {
    /* It is noted before: another thread may get the number as soon as it is free. */
    enter();
    head->start = ++ticks;
    append(head, NULL, NULL, NULL);
    paths[a[0]][0] = 0;
    leave();
    return own(SYS_close, a[0], 0, 0, 0, 0);
}

static long duplicating(struct record *head, long number, long *a) {
    enter();
    head->start = ++ticks;
    long result = own(number, a[0], a[1], a[2], a[3], a[4]);
    if (result >= 0 && result < FILES) {
        memmove(paths[result], paths[a[0]], LONGEST);
        head->result = head->other = result;
        append(head, NULL, NULL, NULL);
    }
    leave();
    return result;
}

static long call(long number, long *a) {
    char first[LONGEST], second[LONGEST];
    const char *path = NULL, *to = NULL;
    struct record head = {.fd = (int32_t)a[0], .other = -1};
    struct iovec one = {(void *)a[1], a[2]};
    switch (number) {
    case SYS_open: case SYS_creat: {
        long moved[5] = {AT_FDCWD, a[0], number == SYS_creat ? O_CREAT | O_WRONLY | O_TRUNC : a[1],
                         number == SYS_creat ? a[1] : a[2], 0};
        return call(SYS_openat, moved);
    }
    case SYS_openat:
        head.kind = OPEN, head.flags = a[2];
        path = resolve(a[0], (char *)a[1], first);
        break;
    case SYS_rename: {
        long moved[5] = {AT_FDCWD, a[0], AT_FDCWD, a[1], 0};
        return call(SYS_renameat2, moved);
    }
    case SYS_renameat: case SYS_renameat2:
        if (number == SYS_renameat)
            a[4] = 0, number = SYS_renameat2;
        head.kind = RENAME, head.flags = a[4];
        path = resolve(a[0], (char *)a[1], first);
        to = resolve(a[2], (char *)a[3], second);
        break;
    case SYS_unlink: case SYS_rmdir: {
        long moved[5] = {AT_FDCWD, a[0], number == SYS_rmdir ? AT_REMOVEDIR : 0, 0, 0};
        return call(SYS_unlinkat, moved);
    }
    case SYS_unlinkat:
        head.kind = a[2] & AT_REMOVEDIR ? RMDIR : UNLINK;
        path = resolve(a[0], (char *)a[1], first);
        break;
    case SYS_mkdir: {
        long moved[5] = {AT_FDCWD, a[0], a[1], 0, 0};
        return call(SYS_mkdirat, moved);
    }
    case SYS_mkdirat:
        head.kind = MKDIR;
        path = resolve(a[0], (char *)a[1], first);
        break;
    case SYS_link: case SYS_symlink: case SYS_truncate:
        head.kind = OTHER;
        path = resolve(AT_FDCWD, (char *)a[0], first);
        break;
    case SYS_linkat:
        head.kind = OTHER;
        path = resolve(a[0], (char *)a[1], first);
        break;
    }
    if (path)
        return by_path(&head, number, a, path, to);
    /* The last argument is not the caller's, so the number of the kernel's arguments does not matter. */
    if (number == SYS_copy_file_range || number == SYS_sendfile)
        return is_ours(number == SYS_sendfile ? a[0] : a[2]) ? -ENOSYS : own(number, a[0], a[1], a[2], a[3], a[4]);
    if (!is_ours(a[0]))
        return own(number, a[0], a[1], a[2], a[3], a[4]);
    switch (number) {
    case SYS_write: case SYS_pwrite64:
        head.kind = WRITE;
        return writing(&head, number, a, &one, 1);
    case SYS_writev: case SYS_pwritev: case SYS_pwritev2:
        head.kind = WRITE;
        return writing(&head, number, a, (struct iovec *)a[1], a[2]);
    case SYS_ftruncate:
        head.kind = LENGTH, head.length = a[1];
        return on_file(&head, number, a);
    case SYS_fsync: case SYS_fdatasync:
        head.kind = SYNC, head.length = number == SYS_fdatasync;
        return on_file(&head, number, a);
    case SYS_close:
        head.kind = CLOSE;
        return closing(&head, a);
    case SYS_dup: case SYS_dup2: case SYS_dup3:
        head.kind = DUPLICATE;
        return duplicating(&head, number, a);
    case SYS_fcntl:
        if (a[1] != F_DUPFD && a[1] != F_DUPFD_CLOEXEC)
            break;
        head.kind = DUPLICATE;
        return duplicating(&head, number, a);
    case SYS_fallocate:
        head.kind = OTHER;
        return on_file(&head, number, a);
    }
    return own(number, a[0], a[1], a[2], a[3], a[4]);
}

static void trapped(int signal, siginfo_t *info, void *context) {
    (void)signal;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    long a[5] = {registers[REG_RDI], registers[REG_RSI], registers[REG_RDX], registers[REG_R10], registers[REG_R8]};
    registers[REG_RAX] = call(info->si_syscall, a);
}

static const int CALLS[] = {
    SYS_open, SYS_creat, SYS_openat, SYS_rename, SYS_renameat, SYS_renameat2, SYS_unlink, SYS_rmdir, SYS_unlinkat,
    SYS_mkdir, SYS_mkdirat, SYS_link, SYS_linkat, SYS_symlink, SYS_truncate, SYS_write, SYS_pwrite64, SYS_writev,
    SYS_pwritev, SYS_pwritev2, SYS_ftruncate, SYS_fallocate, SYS_fsync, SYS_fdatasync, SYS_close, SYS_dup, SYS_dup2,
    SYS_dup3, SYS_fcntl, SYS_copy_file_range, SYS_sendfile,
};
#define COUNT (sizeof CALLS / sizeof *CALLS)

static void filter(void) {
    struct sock_filter code[COUNT + 6];
    size_t at = 0;
    code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t number = 0; number < COUNT; number++)
        code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CALLS[number], COUNT - number, 0);
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5]));
    code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN, 0, 1);
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    struct sock_fprog program = {at, code};
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (sigaction(SIGSYS, &action, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(97);
}

/* AMQP_DISK_FAIL is the number of the call that fails, and how: eio, enospc, short, full (from then on). */
__attribute__((constructor)) static void load(void) {
    const char *log = getenv("AMQP_DISK_LOG"), *of = getenv("AMQP_DISK_FOLDER"), *fail = getenv("AMQP_DISK_FAIL");
    if (!log || !of || strlen(of) >= LONGEST)
        return;
    strcpy(folder, of);
    swallows = getenv("AMQP_DISK_SWALLOW") != NULL;
    only_syncs = getenv("AMQP_DISK_SYNCS") != NULL;
    if (fail) {
        char *kind;
        fails_at = strtoull(fail, &kind, 10);
        failure = strstr(kind, "eio") ? -EIO : -ENOSPC;
        shortens = strstr(kind, "short") != NULL;
        is_sticky = strstr(kind, "full") != NULL;
    }
    log_file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_file < 0)
        _exit(96);
    /* The standard streams of those who start it are low numbers, and so are the program's files. */
    log_file = fcntl(log_file, F_DUPFD_CLOEXEC, 900);
    unsetenv("LD_PRELOAD");
    struct record head = {.kind = BEGIN};
    append(&head, folder, NULL, NULL);
    filter();
}
