/* Lines that are spelled alike, read into columns: the same as lines.py does, in one walk over the bytes.
 *
 * Lives here: holding each line to its spelling byte by byte, numbers and texts out of it. Doesn't: which value is which
 * column, UTF-8, anything of Python's (native.py calls this with the addresses of NumPy arrays and Arrow buffers).
 *
 * A line that isn't understood in full does not fit, and the exchange's own parser decides about it. So whatever is
 * rare is left out here: it costs time there, never a digit.
 */
#include <stdint.h>
#include <string.h>

typedef unsigned __int128 u128;

/* What a value is read as; native.py knows them by these numbers. */
enum { SKIP = 0, DECIMAL = 1, INTEGER = 2, TEXT = 3 };
/* Decimals are kept with this many places, and so many digits before the point. */
enum { SCALE = 18, WHOLE = 20, MOST_DIGITS = 38 };

struct slot {
    int32_t kind;
    int32_t quoted;
    int64_t literal;   /* where the text before this value begins in the literals */
    int64_t length;    /* and how long it is */
    int64_t width;     /* bytes a line of its values: DECIMAL 16, INTEGER 8, TEXT (the number of its word) 4 */
    void *values;
    uint8_t *valid;    /* DECIMAL and INTEGER: 0 where it is null */
    int64_t *words;    /* TEXT: where each different word begins and ends */
    int32_t *table;    /* TEXT: the numbers of words by their hash, -1 where there is none */
    int64_t mask;      /* TEXT: the size of the table less one */
    int64_t count;     /* TEXT: words found; DECIMAL and INTEGER: nulls found */
};

static const uint64_t POWERS[] = {
    1ULL, 10ULL, 100ULL, 1000ULL, 10000ULL, 100000ULL, 1000000ULL, 10000000ULL, 100000000ULL, 1000000000ULL,
    10000000000ULL, 100000000000ULL, 1000000000000ULL, 10000000000000ULL, 100000000000000ULL, 1000000000000000ULL,
    10000000000000000ULL, 100000000000000000ULL, 1000000000000000000ULL, 10000000000000000000ULL,
};

static inline int is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

/* A number as JSON spells it, between p and end: its digits, how many of them stand behind the point, its exponent. */
struct number {
    u128 digits;
    int32_t count;    /* digits, without leading zeros */
    int32_t fraction;
    int32_t exponent;
    int32_t negative;
    int32_t plain;    /* no point and no exponent */
};

static inline const uint8_t *scan(const uint8_t *p, const uint8_t *end, struct number *n) {
    n->negative = p < end && *p == '-';
    p += n->negative;
    if (p >= end || !is_digit(*p)) return 0;
    const uint8_t *first = p;
    uint64_t low = 0;
    while (p < end && is_digit(*p) && p - first < 19) low = low * 10 + (uint64_t)(*p++ - '0');
    n->digits = low;
    while (p < end && is_digit(*p)) {
        if (p - first >= MOST_DIGITS) return 0;
        n->digits = n->digits * 10 + (uint8_t)(*p++ - '0');
    }
    int32_t whole = (int32_t)(p - first);
    if (*first == '0' && whole > 1) return 0;
    n->count = *first == '0' ? 0 : whole;
    n->fraction = 0;
    n->exponent = 0;
    n->plain = 1;
    if (p < end && *p == '.') {
        const uint8_t *point = ++p;
        n->plain = 0;
        if (whole <= 10) {  /* the usual one: all of it within 64 bits */
            low = (uint64_t)n->digits;
            while (p < end && is_digit(*p) && p - point < 9) low = low * 10 + (uint64_t)(*p++ - '0');
            n->digits = low;
        }
        while (p < end && is_digit(*p)) {
            if (p - point >= SCALE || whole + (p - point) >= MOST_DIGITS) return 0;
            n->digits = n->digits * 10 + (uint8_t)(*p++ - '0');
        }
        n->fraction = (int32_t)(p - point);
        if (n->fraction == 0) return 0;
        n->count = n->digits ? n->count + n->fraction : 0; /* at most: leading zeros of a fraction count */
    }
    if (p < end && (*p | 0x20) == 'e') {
        n->plain = 0;
        if (++p >= end) return 0;
        int negative = *p == '-';
        p += negative || *p == '+';
        const uint8_t *digits = p;
        while (p < end && is_digit(*p) && p - digits < 2) n->exponent = n->exponent * 10 + (*p++ - '0');
        if (p == digits || (p < end && is_digit(*p))) return 0;
        if (negative) n->exponent = -n->exponent;
    }
    return p;
}

/* The number with SCALE places; 0 where it has more, or too many digits before the point. */
static inline int scaled(const struct number *n, u128 *value) {
    int32_t shift = SCALE - n->fraction + n->exponent;
    if (shift < 0 || n->count - n->fraction + n->exponent > WHOLE) return 0;
    u128 result = n->digits;
    if (result && n->count + shift > MOST_DIGITS) return 0;
    for (; result && shift > 19; shift -= 19) result *= POWERS[19];
    if (result) result *= POWERS[shift];
    *value = n->negative ? -result : result;
    return 1;
}

static inline int is_null(const uint8_t *p, const uint8_t *end) {
    return end - p >= 4 && memcmp(p, "null", 4) == 0;
}

/* A number into its column; where it ends, or 0. */
static inline const uint8_t *take_number(struct slot *s, int64_t line, const uint8_t *p, const uint8_t *end) {
    struct number n;
    if (!s->quoted && p < end && *p == 'n') {
        if (!is_null(p, end)) return 0;
        s->valid[line] = 0;
        s->count++;
        memset((uint8_t *)s->values + line * s->width, 0, (size_t)s->width);
        return p + 4;
    }
    p = scan(p, end, &n);
    if (!p) return 0;
    if (s->kind == INTEGER) {
        if (!n.plain || n.digits > INT64_MAX) return 0;
        int64_t value = (int64_t)(uint64_t)n.digits;
        ((int64_t *)s->values)[line] = n.negative ? -value : value;
    } else {
        u128 value;
        if (!scaled(&n, &value)) return 0;
        memcpy((uint8_t *)s->values + line * 16, &value, 16);
    }
    return p;
}

/* Where a text ends: at its quotation mark, or without one where no word goes on. 0 where it holds what it must not. */
static inline const uint8_t *end_of_text(const uint8_t *p, const uint8_t *end, int quoted) {
    if (quoted) {
        for (; p < end && *p != '"'; p++)
            if (*p < 0x20 || *p == '\\') return 0;
        return p < end ? p : 0;
    }
    while (p < end && (is_digit(*p) || (uint8_t)((*p | 0x20) - 'a') < 26 || *p == '.' || *p == '-' || *p == '+')) p++;
    return p;
}

/* The number of a word, which is given one when it is new. */
static inline int32_t word_of(struct slot *s, const uint8_t *data, const uint8_t *p, int64_t length) {
    uint64_t hash = 1469598103934665603ULL ^ (uint64_t)length;
    int64_t at = 0;
    for (; at + 8 <= length; at += 8) {
        uint64_t part;
        memcpy(&part, p + at, 8);
        hash = (hash ^ part) * 0x9E3779B97F4A7C15ULL;
        hash ^= hash >> 29;
    }
    for (; at < length; at++) hash = (hash ^ p[at]) * 1099511628211ULL;
    hash ^= hash >> 32;
    for (int64_t place = (int64_t)(hash & (uint64_t)s->mask);; place = (place + 1) & s->mask) {
        int32_t word = s->table[place];
        if (word < 0) {
            s->table[place] = (int32_t)s->count;
            s->words[2 * s->count] = p - data;
            s->words[2 * s->count + 1] = p - data + length;
            return (int32_t)s->count++;
        }
        const int64_t *known = s->words + 2 * word;
        if (known[1] - known[0] == length && memcmp(data + known[0], p, (size_t)length) == 0) return word;
    }
}

/* One line into all columns; whether it fits. */
static int read_line(const uint8_t *data, const uint8_t *p, const uint8_t *end, int64_t line, const uint8_t *literals,
                     struct slot *slots, int64_t count, int64_t last_literal, int64_t last_length) {
    for (int64_t number = 0; number < count; number++) {
        struct slot *s = slots + number;
        if (end - p < s->length || memcmp(p, literals + s->literal, (size_t)s->length) != 0) return 0;
        p += s->length;
        if (s->kind == SKIP || s->kind == TEXT) {
            const uint8_t *stop = end_of_text(p, end, s->quoted);
            if (!stop) return 0;
            if (s->kind == TEXT) ((int32_t *)s->values)[line] = word_of(s, data, p, stop - p);
            p = stop;
        } else {
            p = take_number(s, line, p, end);
            if (!p) return 0;
        }
    }
    return end - p == last_length && memcmp(p, literals + last_literal, (size_t)last_length) == 0;
}

/* Read lines into the columns of their slots; `fits` says of each whether it is spelled so. How many are not.
 *
 * The columns are whole only if all lines fit. */
int64_t tidemark_read_lines(const uint8_t *data, const int64_t *starts, const int64_t *ends, int64_t lines,
                            const uint8_t *literals, struct slot *slots, int64_t count, int64_t last_literal,
                            int64_t last_length, uint8_t *fits) {
    int64_t misfits = 0;
    for (int64_t line = 0; line < lines; line++) {
        fits[line] = (uint8_t)read_line(data, data + starts[line], data + ends[line], line, literals, slots, count,
                                        last_literal, last_length);
        misfits += !fits[line];
    }
    return misfits;
}

/* How many bytes are control characters or backslashes. */
int64_t tidemark_odd_bytes(const uint8_t *data, int64_t length) {
    int64_t odd = 0;
    for (int64_t at = 0; at < length;) {
        int64_t stop = length - at > 128 ? at + 128 : length;
        uint8_t some = 0; /* at most 128: no overflow, and the compiler makes vectors of it */
        for (; at < stop; at++) some = (uint8_t)(some + ((data[at] < 0x20) | (data[at] == '\\')));
        odd += some;
    }
    return odd;
}
