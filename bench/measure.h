/* Clocks, a latency histogram, and what a process has used.
 *
 * CPU time is the scheduler's own nanosecond count of a whole process, threads that
 * have ended included (clock_getcpuclockid; schedstat of every task where that is
 * refused). The histogram has 64 steps per power of two: below 1.6 % error, no
 * allocation, any range.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { HIST_STEPS = 64, HIST_SIZE = 64 * HIST_STEPS };

struct hist {
    uint64_t count, max, slot[HIST_SIZE];
};

static inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec ts;
    if (clock_gettime(clock, &ts) != 0)
        return 0;
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static inline void hist_add(struct hist *h, uint64_t value)
{
    unsigned shift = value < HIST_STEPS ? 0 : 63u - (unsigned)__builtin_clzll(value) - 5u;
    h->slot[shift * HIST_STEPS + (value >> shift)]++;
    h->count++;
    if (value > h->max)
        h->max = value;
}

/* The value below or at which `share` (0..1) of all values lie. */
static inline uint64_t hist_at(const struct hist *h, double share)
{
    uint64_t seen = 0, wanted = (uint64_t)(share * (double)h->count);
    for (unsigned i = 0; i < HIST_SIZE; i++) {
        seen += h->slot[i];
        if (h->slot[i] > 0 && seen >= wanted) {
            unsigned shift = i / HIST_STEPS;
            uint64_t top = ((uint64_t)(i % HIST_STEPS) << shift) + ((1ull << shift) - 1);
            return top < h->max ? top : h->max;
        }
    }
    return h->max;
}

static inline uint64_t schedstat_ns(pid_t pid)
{
    char path[300];
    uint64_t sum = 0;
    struct dirent *task;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    while (dir && (task = readdir(dir))) {
        unsigned long long ns = 0;
        snprintf(path, sizeof path, "/proc/%d/task/%.200s/schedstat", (int)pid, task->d_name);
        FILE *file = task->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (file && fscanf(file, "%llu", &ns) == 1)
            sum += ns;
        if (file)
            fclose(file);
    }
    if (dir)
        closedir(dir);
    return sum;
}

/* CPU time of a process in ns, user and system; 0 when there is none. */
static inline uint64_t process_cpu_ns(pid_t pid)
{
    clockid_t clock;
    uint64_t ns = clock_getcpuclockid(pid, &clock) == 0 ? clock_ns(clock) : 0;
    return ns ? ns : schedstat_ns(pid);
}

/* CPU time of the whole machine in ns, stolen time included; it counts in ticks. */
static inline uint64_t machine_busy_ns(void)
{
    unsigned long long user, nice, system, irq, softirq, steal, ticks = 0;
    FILE *file = fopen("/proc/stat", "r");
    if (!file)
        return 0;
    if (fscanf(file, "cpu %llu %llu %llu %*u %*u %llu %llu %llu", &user, &nice, &system, &irq,
               &softirq, &steal) == 6)
        ticks = user + nice + system + irq + softirq + steal;
    fclose(file);
    return ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

/* Resident bytes of a process; 0 when there is none. */
static inline uint64_t process_rss(pid_t pid)
{
    char path[64];
    unsigned long long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

#endif
