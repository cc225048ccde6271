/* Whether many sends in one system call are cheaper than one send() each, on 1,000 streams.
 *
 *   cc -std=c11 -O2 bench/uring.c -o bench/build/uring && bench/build/uring
 *
 * Loopback; a child reads all streams, waking at most every half millisecond, as the load
 * generator does. CPU is that of all threads of this process (the kernel's own thread of SQPOLL
 * is one of them) by the scheduler's count, over what was sent. Raw system calls, so nothing
 * needs installing. Where the kernel forbids io_uring, it says so.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { STREAMS = 1000, ENTRIES = 1024, BYTES = 170 };
enum { TURNS = 300, PAUSE_US = 10000, CALLS = 1000000 };

static int streams[STREAMS];
static char frame[BYTES];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double cpu_us(void)
{
    double total = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; (task = readdir(tasks));) {
        char path[300];
        unsigned long long ran;
        snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", task->d_name);
        FILE *file = task->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (file && fscanf(file, "%llu", &ran) == 1)
            total += (double)ran / 1e3;
        if (file)
            fclose(file);
    }
    closedir(tasks);
    return total;
}

/* Reads until it is killed. */
static void read_all(const int *ends)
{
    static char bytes[65536];
    int epoll = epoll_create1(0);
    for (int i = 0; i < STREAMS; i++)
        epoll_ctl(epoll, EPOLL_CTL_ADD, ends[i],
                  &(struct epoll_event){.events = EPOLLIN, .data.fd = ends[i]});
    for (struct epoll_event ready[256];; usleep(500))
        for (int n = epoll_wait(epoll, ready, 256, -1); n > 0; n = epoll_wait(epoll, ready, 256, 0))
            for (int i = 0; i < n; i++)
                if (recv(ready[i].data.fd, bytes, sizeof bytes, MSG_DONTWAIT) == 0)
                    exit(0);
}

static pid_t open_streams(void)
{
    static int ends[STREAMS];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 128))
        fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    for (int i = 0; i < STREAMS; i++) {
        ends[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (ends[i] < 0 || connect(ends[i], (struct sockaddr *)&address, size))
            fail("connect");
        if ((streams[i] = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) < 0)
            fail("accept");
        setsockopt(streams[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    pid_t reader = fork();
    if (reader == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int i = 0; i < STREAMS; i++)
            close(streams[i]);
        read_all(ends);
    }
    for (int i = 0; i < STREAMS; i++)
        close(ends[i]);
    return reader;
}

/* The two rings as shared with the kernel. */
struct ring {
    int fd;
    bool fixed, polled;
    struct io_uring_params params;
    char *rings;
    struct io_uring_sqe *entries;
};

static bool open_ring(struct ring *r, unsigned flags, bool fixed)
{
    *r = (struct ring){.fixed = fixed,
                       .polled = flags & IORING_SETUP_SQPOLL,
                       .params = {.flags = flags, .sq_thread_idle = 5}};
    if ((r->fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &r->params)) < 0)
        return false;
    size_t length = r->params.sq_off.array + ENTRIES * sizeof(unsigned);
    size_t completions = r->params.cq_off.cqes + r->params.cq_entries * sizeof(struct io_uring_cqe);
    length = completions > length ? completions : length;
    int access = PROT_READ | PROT_WRITE, kind = MAP_SHARED | MAP_POPULATE;
    r->rings = mmap(NULL, length, access, kind, r->fd, IORING_OFF_SQ_RING);
    r->entries = mmap(NULL, ENTRIES * sizeof *r->entries, access, kind, r->fd, IORING_OFF_SQES);
    if (r->rings == MAP_FAILED || r->entries == MAP_FAILED)
        fail("mmap");
    return !fixed ||
           syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_FILES, streams, STREAMS) == 0;
}

static unsigned *at(struct ring *r, unsigned offset)
{
    return (unsigned *)(void *)(r->rings + offset);
}

static void send_by(struct ring *r)
{
    unsigned *array = at(r, r->params.sq_off.array), *tail = at(r, r->params.sq_off.tail);
    unsigned mask = *at(r, r->params.sq_off.ring_mask), next = *tail;
    for (int i = 0; i < STREAMS; i++, next++) {
        array[next & mask] = next & mask;
        r->entries[next & mask] = (struct io_uring_sqe){.opcode = IORING_OP_SEND,
                                                        .flags = r->fixed ? IOSQE_FIXED_FILE : 0,
                                                        .fd = r->fixed ? i : streams[i],
                                                        .addr = (uint64_t)(uintptr_t)frame,
                                                        .len = BYTES,
                                                        .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL};
    }
    __atomic_store_n(tail, next, __ATOMIC_SEQ_CST);
    unsigned flags = IORING_ENTER_GETEVENTS;
    unsigned state = __atomic_load_n(at(r, r->params.sq_off.flags), __ATOMIC_SEQ_CST);
    if (r->polled && state & IORING_SQ_NEED_WAKEUP)
        flags |= IORING_ENTER_SQ_WAKEUP;
    if (syscall(SYS_io_uring_enter, r->fd, STREAMS, STREAMS, flags, NULL, 0) < 0)
        fail("io_uring_enter");
    unsigned *head = at(r, r->params.cq_off.head), *done = at(r, r->params.cq_off.tail);
    struct io_uring_cqe *results = (void *)(r->rings + r->params.cq_off.cqes);
    for (unsigned left = STREAMS; left > 0;) {
        if (*head == __atomic_load_n(done, __ATOMIC_ACQUIRE))
            continue;
        int sent = results[*head & *at(r, r->params.cq_off.ring_mask)].res;
        if (sent != BYTES) {
            fprintf(stderr, "a send came back with %d\n", sent);
            exit(1);
        }
        __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
        left--;
    }
}

static void send_each(struct ring *r)
{
    (void)r;
    for (int i = 0; i < STREAMS; i++)
        if (send(streams[i], frame, BYTES, MSG_DONTWAIT | MSG_NOSIGNAL) != BYTES)
            fail("send");
}

static double measured(void (*way)(struct ring *), struct ring *r)
{
    double spent = cpu_us();
    for (int turn = 0; turn < TURNS; turn++) {
        way(r);
        usleep(PAUSE_US);
    }
    return (cpu_us() - spent) / TURNS / STREAMS;
}

static void by_ring(const char *name, unsigned flags, bool fixed)
{
    struct ring r;
    if (!open_ring(&r, flags, fixed))
        printf("%-44s refused: %s\n", name, strerror(errno));
    else
        printf("%-44s %5.2f us\n", name, measured(send_by, &r));
    close(r.fd);
}

int main(void)
{
    memset(frame, 'x', sizeof frame);
    pid_t reader = open_streams();
    double spent = cpu_us();
    for (int i = 0; i < CALLS; i++)
        syscall(SYS_getppid);
    printf("%-44s %5.2f us\n", "a system call that does nothing", (cpu_us() - spent) / CALLS);
    for (int round = 1; round <= 3; round++) {
        printf("round %d, CPU per delivery\n", round);
        printf("%-44s %5.2f us\n", "send() each", measured(send_each, NULL));
        by_ring("io_uring, one call for all", 0, false);
        by_ring("the same, registered descriptors", 0, true);
        by_ring("the same, single issuer, deferred work",
                IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, true);
        by_ring("the same, a thread of the kernel (SQPOLL)", IORING_SETUP_SQPOLL, true);
    }
    kill(reader, SIGKILL);
}
