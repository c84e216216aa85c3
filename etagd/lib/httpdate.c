/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/httpdate.h"

#define DAY INT64_C(86400)

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char days[] = "SunMonTueWedThuFriSat";
static const char *const long_days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

struct civil {
    int64_t year;
    int month, day; /* from 1 */
    int hour, minute, second;
};

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int64_t year, int month)
{
    static const int length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return month == 2 && is_leap(year) ? 29 : length[month - 1];
}

/* Days from 1970-01-01 to the first of January of a year, 1 or later. */
static int64_t days_before_year(int64_t year)
{
    int64_t y = year - 1;

    return y * 365 + y / 4 - y / 100 + y / 400 - 719162;
}

/* The calendar has no leap seconds: second 60 is the first of the next minute. */
static int64_t seconds_of(const struct civil *c)
{
    int64_t d = days_before_year(c->year) + c->day - 1;

    for (int m = 1; m < c->month; m++)
        d += days_in_month(c->year, m);
    return d * DAY + c->hour * 3600 + c->minute * 60 + c->second;
}

static struct civil civil_of(int64_t t)
{
    int64_t d = t / DAY, rest = t % DAY;
    struct civil c = {.month = 1};

    if (rest < 0)
        rest += DAY, d--;
    /* 365.2425 days a year: the estimate is right or one too late or early. */
    c.year = 1970 + d * 400 / 146097;
    while (days_before_year(c.year) > d)
        c.year--;
    while (days_before_year(c.year + 1) <= d)
        c.year++;
    d -= days_before_year(c.year);
    while (d >= days_in_month(c.year, c.month))
        d -= days_in_month(c.year, c.month++);
    c.day = (int)d + 1;
    c.hour = (int)(rest / 3600);
    c.minute = (int)(rest / 60 % 60);
    c.second = (int)(rest % 60);
    return c;
}

/* ---- reading: each function takes its text off the front of *s, or says no ---- */

static bool take(struct span *s, struct span text)
{
    if (!span_starts(*s, text))
        return false;
    *s = span_of(s->p + text.n, s->n - text.n);
    return true;
}

static bool take_text(struct span *s, const char *text)
{
    return take(s, span_str(text));
}

static bool take_number(struct span *s, size_t digits, int *out)
{
    int value = 0;

    if (s->n < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return false;
        value = value * 10 + (s->p[i] - '0');
    }
    *s = span_of(s->p + digits, s->n - digits);
    *out = value;
    return true;
}

/* One of several names of three letters; *out counts from 1. */
static bool take_name(struct span *s, const char *names, int *out)
{
    for (int i = 0; names[i * 3]; i++) {
        if (take(s, span_of(names + (ptrdiff_t)i * 3, 3))) {
            *out = i + 1;
            return true;
        }
    }
    return false;
}

static bool take_long_day(struct span *s)
{
    for (int i = 0; i < 7; i++)
        if (take_text(s, long_days[i]))
            return true;
    return false;
}

static bool take_time(struct span *s, struct civil *c)
{
    return take_number(s, 2, &c->hour) && take_text(s, ":") && take_number(s, 2, &c->minute) && take_text(s, ":") &&
           take_number(s, 2, &c->second);
}

/* Sun, 06 Nov 1994 08:49:37 GMT */
static bool read_imf(struct span s, struct civil *c)
{
    int weekday, year;

    if (!take_name(&s, days, &weekday) || !take_text(&s, ", ") || !take_number(&s, 2, &c->day) || !take_text(&s, " ") ||
        !take_name(&s, months, &c->month) || !take_text(&s, " ") || !take_number(&s, 4, &year))
        return false;
    c->year = year;
    return take_text(&s, " ") && take_time(&s, c) && take_text(&s, " GMT") && s.n == 0;
}

/* Sun Nov  6 08:49:37 1994 */
static bool read_asctime(struct span s, struct civil *c)
{
    int weekday, year;
    size_t digits = 2;

    if (!take_name(&s, days, &weekday) || !take_text(&s, " ") || !take_name(&s, months, &c->month) ||
        !take_text(&s, " "))
        return false;
    if (take_text(&s, " "))
        digits = 1;
    if (!take_number(&s, digits, &c->day) || !take_text(&s, " ") || !take_time(&s, c) || !take_text(&s, " ") ||
        !take_number(&s, 4, &year))
        return false;
    c->year = year;
    return s.n == 0;
}

/* Sunday, 06-Nov-94 08:49:37 GMT; the year is left with two digits. */
static bool read_rfc850(struct span s, struct civil *c)
{
    int year;

    if (!take_long_day(&s) || !take_text(&s, ", ") || !take_number(&s, 2, &c->day) || !take_text(&s, "-") ||
        !take_name(&s, months, &c->month) || !take_text(&s, "-") || !take_number(&s, 2, &year))
        return false;
    c->year = year;
    return take_text(&s, " ") && take_time(&s, c) && take_text(&s, " GMT") && s.n == 0;
}

/* Whether a is later than b; field by field, so that it needs no valid date. */
static bool is_later(const struct civil *a, const struct civil *b)
{
    const int64_t x[] = {a->year, a->month, a->day, a->hour, a->minute, a->second};
    const int64_t y[] = {b->year, b->month, b->day, b->hour, b->minute, b->second};

    for (size_t i = 0; i < sizeof(x) / sizeof(x[0]); i++)
        if (x[i] != y[i])
            return x[i] > y[i];
    return false;
}

/* The latest year with these two digits that is not more than 50 years ahead. */
static void resolve_century(struct civil *c, int64_t now)
{
    struct civil limit = civil_of(now);

    limit.year += 50;
    c->year += limit.year - limit.year % 100;
    while (is_later(c, &limit))
        c->year -= 100;
}

static bool is_valid(const struct civil *c)
{
    return c->year >= 1 && c->year <= 9999 && c->day >= 1 && c->day <= days_in_month(c->year, c->month) &&
           c->hour <= 23 && c->minute <= 59 && c->second <= 60;
}

bool httpdate_parse(struct span s, int64_t now, int64_t *out)
{
    struct civil c;

    s = span_trim(s);
    if (!read_imf(s, &c) && !read_asctime(s, &c)) {
        if (!read_rfc850(s, &c))
            return false;
        resolve_century(&c, now);
    }
    if (!is_valid(&c))
        return false;
    *out = seconds_of(&c);
    return true;
}

static char *put_number(char *to, int64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value /= 10)
        to[i] = (char)('0' + value % 10);
    return to + digits;
}

static char *put_text(char *to, const char *text, size_t n)
{
    memcpy(to, text, n);
    return to + n;
}

void httpdate_format(int64_t t, char out[HTTPDATE_SIZE])
{
    struct civil c;
    int64_t weekday;
    char *to = out;

    *out = '\0';
    if (t < days_before_year(1) * DAY || t >= days_before_year(10000) * DAY)
        return;
    c = civil_of(t);
    weekday = ((t - days_before_year(1) * DAY) / DAY + 1) % 7; /* 0001-01-01 was a Monday */
    to = put_text(to, days + weekday * 3, 3);
    to = put_text(to, ", ", 2);
    to = put_number(to, c.day, 2);
    *to++ = ' ';
    to = put_text(to, months + (ptrdiff_t)(c.month - 1) * 3, 3);
    *to++ = ' ';
    to = put_number(to, c.year, 4);
    *to++ = ' ';
    to = put_number(to, c.hour, 2);
    *to++ = ':';
    to = put_number(to, c.minute, 2);
    *to++ = ':';
    to = put_number(to, c.second, 2);
    put_text(to, " GMT", 5);
}
