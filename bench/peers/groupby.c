/*
 * groupby FILE PROCESSES: count, sum, min and max of the numbers in a file of `key;number` lines, by key.
 *
 * What a good C programmer would write for this task, to know what the machine can give. It assumes nothing
 * about the data beyond the format: keys and lines of any length, any decimal number (with exponent, of any
 * number of digits), any number of groups. It forks PROCESSES children, each of which reads a range of the
 * file cut at newlines into a hash table of its own; the children send their tables through pipes, the
 * parent merges, sorts and prints NDJSON.
 *
 *   cc -O3 -march=native -o groupby groupby.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  CHUNK = 1 << 18, /* bytes read at a time: fits the second-level cache; no page faults as with mmap */
  SLACK = 64,      /* bytes that may be read (and are ignored) past the end of the text, for 8-byte loads */
};

static void die(const char *what) {
  fprintf(stderr, "groupby: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void *must(void *memory) {
  if (memory == NULL) die("memory");
  return memory;
}

/* ---- The table: open addressing with linear probing over groups that never move within `groups` ---- */

typedef struct {
  uint64_t hash;
  uint64_t count;
  double sum, min, max;
  char *key; /* followed by at least 8 readable bytes */
  uint32_t length;
} Group;

typedef struct {
  uint32_t *slots; /* index into groups plus one; 0 is empty */
  uint64_t mask;
  Group *groups;
  uint32_t used, room;
} Table;

static void table_init(Table *table) {
  table->mask = 4095;
  table->slots = must(calloc(table->mask + 1, sizeof *table->slots));
  table->used = 0;
  table->room = 1024;
  table->groups = must(malloc(table->room * sizeof *table->groups));
}

static void table_grow(Table *table) {
  free(table->slots);
  table->mask = table->mask * 2 + 1;
  table->slots = must(calloc(table->mask + 1, sizeof *table->slots));
  for (uint32_t i = 0; i < table->used; i++) {
    uint64_t at = table->groups[i].hash & table->mask;
    while (table->slots[at] != 0) at = (at + 1) & table->mask;
    table->slots[at] = i + 1;
  }
}

static inline uint64_t load8(const char *at) {
  uint64_t word;
  memcpy(&word, at, 8);
  return word;
}

/* The first `bytes` (0 to 7) bytes of a word, little-endian. */
static inline uint64_t low_bytes(uint64_t word, unsigned bytes) {
  return word & ((1ull << (bytes * 8)) - 1);
}

static inline uint64_t mix(uint64_t hash, uint64_t word) {
  __uint128_t product = (__uint128_t)(hash ^ word) * 0x9e3779b97f4a7c15ull;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline int same_key(const char *a, const char *b, uint32_t length) {
  while (length >= 8) {
    if (load8(a) != load8(b)) return 0;
    a += 8, b += 8, length -= 8;
  }
  return low_bytes(load8(a) ^ load8(b), length) == 0;
}

static __attribute__((noinline)) Group *table_add(Table *table, uint64_t at, uint64_t hash, const char *key,
                                                  uint32_t length) {
  if (table->used == table->room) {
    table->room *= 2;
    table->groups = must(realloc(table->groups, table->room * sizeof *table->groups));
  }
  Group *group = &table->groups[table->used++];
  *group = (Group){.hash = hash, .min = INFINITY, .max = -INFINITY, .length = length};
  group->key = must(calloc(1, (size_t)length + 8));
  memcpy(group->key, key, length);
  table->slots[at] = table->used;
  if ((uint64_t)table->used * 2 > table->mask) table_grow(table);
  return group;
}

/* The key must be followed by 8 readable bytes. */
static inline Group *table_at(Table *table, uint64_t hash, const char *key, uint32_t length) {
  uint64_t at = hash & table->mask;
  for (uint32_t slot; (slot = table->slots[at]) != 0; at = (at + 1) & table->mask) {
    Group *group = &table->groups[slot - 1];
    if (group->hash == hash && group->length == length && same_key(group->key, key, length)) return group;
  }
  return table_add(table, at, hash, key, length);
}

/* ---- Lines ---- */

static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Any form that the fast path below does not round correctly, and what is no number at all (returns 0). */
static __attribute__((noinline)) int slow_number(const char *start, const char *end, double *value) {
  char local[64], *text = local;
  size_t length = end - start;
  if (length == 0) return 0;
  if (length >= sizeof local) text = must(malloc(length + 1));
  memcpy(text, start, length);
  text[length] = 0;
  char *stop;
  *value = strtod(text, &stop);
  /* strtod also takes hexadecimal, `inf`, `nan` and leading blanks, which are no decimals */
  int ok = stop == text + length && strspn(text, "+-.0123456789eE") == length;
  if (text != local) free(text);
  return ok;
}

/*
 * A decimal at `start`: sign, digits, fraction. Up to 15 digits the integer and the power of ten are exact
 * doubles, so that one division rounds correctly (Clinger 1990). Stops at the newline and sets `*end` to
 * it; `limit` is the last byte that may be a newline, and is one.
 */
static inline int number(const char *start, const char *limit, const char **end, double *value) {
  const char *at = start;
  int negative = *at == '-';
  at += negative;
  const char *digits = at;
  uint64_t mantissa = 0;
  unsigned digit;
  while ((digit = (unsigned char)*at - '0') <= 9) mantissa = mantissa * 10 + digit, at++;
  long count = at - digits, fraction = 0;
  if (*at == '.') {
    const char *point = at++;
    while ((digit = (unsigned char)*at - '0') <= 9) mantissa = mantissa * 10 + digit, at++;
    fraction = at - point - 1;
    count += fraction;
  }
  if (__builtin_expect(*at == '\n' && count >= 1 && count <= 15, 1)) {
    double size = (double)mantissa / POWERS[fraction];
    *value = negative ? -size : size;
    *end = at;
    return 1;
  }
  const char *line = memchr(at, '\n', limit - at + 1);
  *end = line;
  return slow_number(start, line > start && line[-1] == '\r' ? line - 1 : line, value);
}

/* Marks the bytes of a word that equal `byte`; exact up to the first one, which is all that is used. */
static inline uint64_t find_byte(uint64_t word, unsigned char byte) {
  uint64_t x = word ^ (0x0101010101010101ull * byte);
  return (x - 0x0101010101010101ull) & ~x & 0x8080808080808080ull;
}

/*
 * Takes the lines of [at, end), which ends in a newline and is followed by SLACK bytes. Returns how many
 * are no record.
 */
static uint64_t lines(Table *table, const char *at, const char *end) {
  uint64_t bad = 0;
  while (at < end) {
    const char *key = at;
    uint64_t hash = 0, word, found;
    for (;; at += 8) {
      word = load8(at);
      found = find_byte(word, ';') | find_byte(word, '\n');
      if (found != 0) break;
      hash = mix(hash, word);
    }
    unsigned rest = __builtin_ctzll(found) >> 3;
    at += rest;
    if (__builtin_expect(*at == '\n', 0)) {
      bad += at != key; /* an empty line is none */
      at++;
      continue;
    }
    uint32_t length = (uint32_t)(at - key);
    hash = mix(hash, low_bytes(word, rest));
    double value;
    if (__builtin_expect(number(at + 1, end - 1, &at, &value), 1)) {
      Group *group = table_at(table, hash, key, length);
      group->count++;
      group->sum += value;
      if (value < group->min) group->min = value;
      if (value > group->max) group->max = value;
    } else {
      bad++;
    }
    at++;
  }
  return bad;
}

/* ---- The file ---- */

static size_t read_at(int file, char *to, size_t bytes, off_t from) {
  for (;;) {
    ssize_t got = pread(file, to, bytes, from);
    if (got >= 0) return (size_t)got;
    if (errno != EINTR) die("read");
  }
}

/* The first start of a line at or after `from`. */
static off_t line_start(int file, off_t from, off_t size) {
  char text[4096];
  if (from == 0) return 0;
  for (off_t at = from - 1; at < size;) {
    size_t got = read_at(file, text, sizeof text, at);
    if (got == 0) break;
    char *newline = memchr(text, '\n', got);
    if (newline != NULL) return at + (newline - text) + 1;
    at += (off_t)got;
  }
  return size;
}

/*
 * Takes the lines of [from, to) of the file; both are starts of lines or its end. Returns how many are no
 * record.
 */
static uint64_t range(Table *table, int file, off_t from, off_t to) {
  size_t room = CHUNK, held = 0; /* held: bytes of a line not complete yet, at the start of the buffer */
  char *buffer = must(calloc(1, room + SLACK));
  uint64_t bad = 0;
  while (from < to) {
    if (held == room) buffer = must(realloc(buffer, (room *= 2) + SLACK));
    size_t want = room - held;
    if ((off_t)want > to - from) want = (size_t)(to - from);
    size_t got = read_at(file, buffer + held, want, from);
    if (got == 0) break; /* the file was cut short meanwhile */
    from += (off_t)got;
    char *newline = memrchr(buffer + held, '\n', got);
    held += got;
    if (newline == NULL) continue;
    char *rest = newline + 1;
    bad += lines(table, buffer, rest);
    held -= (size_t)(rest - buffer);
    memmove(buffer, rest, held);
  }
  if (held > 0) { /* the last line of a file that does not end in a newline; SLACK leaves room for one */
    buffer[held] = '\n';
    bad += lines(table, buffer, buffer + held + 1);
  }
  free(buffer);
  return bad;
}

/*
 * ---- From child to parent: each group as this header and its key, then a header of length UINT32_MAX ----
 */

typedef struct {
  uint64_t hash, count; /* in the last header, `count` is the number of bad lines */
  double sum, min, max;
  uint64_t length;
} Header;

static void send_table(const Table *table, uint64_t bad, FILE *pipe) {
  for (uint32_t i = 0; i < table->used; i++) {
    const Group *group = &table->groups[i];
    Header header = {group->hash, group->count, group->sum, group->min, group->max, group->length};
    fwrite(&header, sizeof header, 1, pipe);
    fwrite(group->key, 1, group->length, pipe);
  }
  Header last = {.count = bad, .length = UINT32_MAX};
  fwrite(&last, sizeof last, 1, pipe);
  if (fclose(pipe) != 0) die("pipe");
}

static uint64_t merge_table(Table *table, FILE *pipe) {
  size_t room = 256;
  char *key = must(malloc(room + 8));
  Header header;
  for (;;) {
    if (fread(&header, sizeof header, 1, pipe) != 1) die("a child ended early");
    if (header.length == UINT32_MAX) break;
    if (header.length > room) key = must(realloc(key, (room = header.length) + 8));
    if (fread(key, 1, header.length, pipe) != header.length) die("a child ended early");
    Group *group = table_at(table, header.hash, key, (uint32_t)header.length);
    group->count += header.count;
    group->sum += header.sum;
    if (header.min < group->min) group->min = header.min;
    if (header.max > group->max) group->max = header.max;
  }
  free(key);
  fclose(pipe);
  return header.count;
}

/* ---- The answer ---- */

static int by_key(const void *left, const void *right) {
  const Group *a = left, *b = right;
  int order = memcmp(a->key, b->key, a->length < b->length ? a->length : b->length);
  return order != 0 ? order : (a->length > b->length) - (a->length < b->length);
}

static void print_text(const char *text, uint32_t length) {
  putchar('"');
  for (uint32_t i = 0; i < length; i++) {
    unsigned char byte = (unsigned char)text[i];
    if (byte == '"' || byte == '\\') printf("\\%c", byte);
    else if (byte < 0x20) printf("\\u%04x", byte);
    else putchar(byte);
  }
  putchar('"');
}

static void print_table(Table *table) {
  qsort(table->groups, table->used, sizeof *table->groups, by_key);
  for (uint32_t i = 0; i < table->used; i++) {
    const Group *group = &table->groups[i];
    fputs("{\"table\":\"stations\",\"key\":", stdout);
    print_text(group->key, group->length);
    printf(",\"temperature\":{\"count\":%llu,\"sum\":%.17g,\"min\":%.17g,\"max\":%.17g,\"mean\":%.17g}}\n",
           (unsigned long long)group->count, group->sum, group->min, group->max,
           group->sum / (double)group->count);
  }
  if (fflush(stdout) != 0) die("standard output");
}

int main(int arguments, char **argument) {
  int processes = arguments == 3 ? atoi(argument[2]) : 0;
  if (processes < 1) {
    fputs("usage: groupby FILE PROCESSES\n", stderr);
    return 2;
  }
  int file = open(argument[1], O_RDONLY);
  struct stat facts;
  if (file < 0 || fstat(file, &facts) != 0) die(argument[1]);

  FILE **pipes = must(malloc((size_t)processes * sizeof *pipes));
  off_t from = 0;
  for (int i = 0; i < processes; i++) {
    off_t to = line_start(file, (off_t)((__int128)facts.st_size * (i + 1) / processes), facts.st_size);
    if (to < from) to = from;
    int ends[2];
    if (pipe(ends) != 0) die("pipe");
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
      close(ends[0]);
      Table table;
      table_init(&table);
      uint64_t bad = range(&table, file, from, to);
      send_table(&table, bad, must(fdopen(ends[1], "w")));
      return 0;
    }
    close(ends[1]);
    pipes[i] = must(fdopen(ends[0], "r"));
    from = to;
  }

  Table table;
  table_init(&table);
  uint64_t bad = 0;
  for (int i = 0; i < processes; i++) bad += merge_table(&table, pipes[i]);
  for (int i = 0, status; i < processes; i++) {
    if (wait(&status) < 0 || status != 0) die("a child failed");
  }
  if (bad > 0) fprintf(stderr, "groupby: %llu lines are no record\n", (unsigned long long)bad);
  print_table(&table);
  return 0;
}
