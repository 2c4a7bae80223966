/** Numbers of the DNS protocol (IANA "Domain Name System Parameters"). */

export const Type = {
  A: 1,
  NS: 2,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  DS: 43,
  DNSKEY: 48,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;

export const Class = { IN: 1, ANY: 255 } as const;

/** Response codes; those above 15 need EDNS to travel (RFC 6891 §6.1.3). */
export const Rcode = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const;

/** Largest UDP payload without EDNS (RFC 1035 §4.2.1). */
export const PLAIN_UDP_BYTES = 512;
/** Largest UDP payload we send or ask for: no fragments on any link that carries IPv6 (DNS flag day 2020). */
export const MAX_UDP_BYTES = 1232;
/** A TCP message has a length prefix of two bytes (RFC 1035 §4.2.2). */
export const MAX_TCP_BYTES = 65_535;
export const HEADER_BYTES = 12;
