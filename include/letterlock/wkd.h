/*
 * wkd: the places where the keys of a mail address are published.
 *
 * - OpenPGP Web Key Directory (draft-koch-openpgp-webkey-service): a file on the web server of the
 *   domain. The advanced method asks the host openpgpkey.DOMAIN, the direct one DOMAIN itself, and
 *   only where no host openpgpkey.DOMAIN exists.
 * - OPENPGPKEY (RFC 7929) and SMIMEA (RFC 8162) records, to be believed with DNSSEC alone.
 *
 * Names only: whoever asks is io's and tool's business. The domain is written in A-labels. The
 * local part of a WKD name is in ASCII lower case; the hashes of DNS names are of the local part as
 * it is given, quotes undone (RFC 7929 3), so look under the given and the lower-case spelling.
 * UTF-8 is not normalised: give it in NFC (what keyboards and mail programs write).
 */
#ifndef LETTERLOCK_WKD_H
#define LETTERLOCK_WKD_H

#include "letterlock/addr.h"
#include "letterlock/dns.h"

#define LL_WKD_KEY_MAX  65536 /* octets of an answer; real keys have 0.5 to 20 KiB */
#define LL_WKD_HASH_N   32    /* characters of zbase32 of a SHA-1 */
#define LL_WKD_URL_ROOM 2048  /* enough for the URL of any mailbox */

enum ll_wkd_method {
    LL_WKD_ADVANCED, /* https://openpgpkey.DOMAIN/.well-known/openpgpkey/DOMAIN/hu/HASH?l=LOCAL */
    LL_WKD_DIRECT,   /* https://DOMAIN/.well-known/openpgpkey/hu/HASH?l=LOCAL */
};

/* Appends octets in zbase32: five bits a character, no padding. */
void ll_zbase32(struct ll_buf *out, struct ll_slice octets);
/* Appends the name of the address's file. False: the domain is an address literal, or no room. */
bool ll_wkd_hash(const struct ll_mailbox *, struct ll_buf *out);
/* Appends "openpgpkey.example.org" or "example.org". */
bool ll_wkd_host(enum ll_wkd_method, const struct ll_mailbox *, struct ll_buf *out);
/* Appends the folder of a domain below the root of the web server, without "/" at its ends:
 * ".well-known/openpgpkey/example.org" or ".well-known/openpgpkey". In it lie "policy" and "hu". */
bool ll_wkd_folder(enum ll_wkd_method, struct ll_slice domain, struct ll_buf *out);
/* Appends the whole URL. */
bool ll_wkd_url(enum ll_wkd_method, const struct ll_mailbox *, struct ll_buf *out);

/* The owner name of an address's records: type LL_DNS_SMIMEA or LL_DNS_OPENPGPKEY. lower: of the
 * local part in ASCII lower case. False: another type, an address literal, or a domain too long. */
bool ll_wkd_dns_name(enum ll_dns_type, const struct ll_mailbox *, bool lower,
                     struct ll_dns_name *ret);

#endif
