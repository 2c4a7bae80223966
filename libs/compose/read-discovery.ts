/** What a service says of names, resolvers and how it is balanced. */
import { isIpv4 } from '#base/address.js';
import { canonicalIp6 } from '#base/address6.js';
import { MAX_TTL_SECONDS } from '#model/name-ttl.js';
import { HOSTNAME_PATTERN } from '#model/names.js';
import type { Service } from '#model/stack.js';
import { entriesOf, isNull, itemsOf, readMatching, readString, readText, reject, type Context, type Field } from './context.js';
import type { ServiceDraft } from './draft.js';
import { quote } from './issue.js';
import { nearest } from './nearest.js';
import { readLabels } from './read-pairs.js';
import { parseRange } from './short-ports.js';
import { parseDurationMs } from './units.js';

/** resolv.conf(5): what libc reads; MAXNS. */
const MAX_RESOLVERS = 3;
const MAX_DRAIN_MS = 3_600_000;
const OPTION = /^[a-z][a-z0-9-]*(:[0-9]{1,9})?$/;

/** The address in its canonical text, undefined if it is none. */
function addressIn(text: string): string | undefined {
  if (isIpv4(text)) return text;
  try {
    return canonicalIp6(text);
  } catch {
    return undefined;
  }
}

/** Resolvers are asked by the name server of the node, on behalf of the task. */
export function readResolvers(c: Context, field: Field): string[] | undefined {
  if (isNull(field.value)) return undefined;
  const found = (itemsOf(c, field) ?? []).flatMap((item) => {
    const text = readString(c, item, 'an IP address') ?? '';
    const address = addressIn(text);
    if (address === undefined) reject(c, item, `expected an IP address, found ${quote(text)}`);
    else if (address.startsWith('127.') || address === '::1')
      reject(c, item, `${text} is a loopback address`, 'the resolver is asked by the node, whose loopback is not the container’s');
    else return [address];
    return [];
  });
  if (found.length > MAX_RESOLVERS) reject(c, field, `at most ${MAX_RESOLVERS} resolvers are ever asked, found ${found.length}`);
  return found;
}

/** `.` is Docker's word for "none". */
export function readSearchDomains(c: Context, field: Field): string[] | undefined {
  if (isNull(field.value)) return undefined;
  return (itemsOf(c, field) ?? []).flatMap((item) => {
    const text = readString(c, item, 'a domain') ?? '';
    if (text === '.') return [];
    return readMatching(c, item, HOSTNAME_PATTERN, 'a domain like "example.org"') ?? [];
  });
}

export function readResolverOptions(c: Context, field: Field): string[] | undefined {
  if (isNull(field.value)) return undefined;
  return (itemsOf(c, field) ?? []).flatMap((item) => readMatching(c, item, OPTION, 'an option like "ndots:1" (resolv.conf)') ?? []);
}

export function readExtraHosts(c: Context, field: Field): Service['container']['extraHosts'] {
  return (entriesOf(c, field) ?? []).flatMap((entry) => {
    if (!HOSTNAME_PATTERN.test(entry.key)) reject(c, entry, `expected a host name, found ${quote(entry.key)}`);
    return (itemsOf(c, entry) ?? []).flatMap((item) => {
      const text = readString(c, item, 'an IP address') ?? '';
      if (text === 'host-gateway') return [{ name: entry.key, address: 'host-gateway' as const }];
      const address = addressIn(text);
      if (address === undefined) reject(c, item, `expected an IP address or "host-gateway", found ${quote(text)}`);
      return address === undefined ? [] : [{ name: entry.key, address }];
    });
  });
}

/** `3000`, `3000-3005`, `53/udp`. */
export function readExpose(c: Context, field: Field): Service['expose'] {
  return (itemsOf(c, field) ?? []).flatMap((item) => {
    const text = readText(c, item, 'a port') ?? '';
    const [ports = '', protocol = 'tcp', ...rest] = text.toLowerCase().split('/');
    const range = parseRange(ports);
    if (!range || rest.length > 0 || (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp')) {
      reject(c, item, `expected a port or a range, with /tcp, /udp or /sctp behind it if need be, found ${quote(text)}`);
      return [];
    }
    return Array.from({ length: range.last - range.first + 1 }, (_, i) => ({ port: range.first + i, protocol }));
  });
}

/** Labels of ours in `deploy.labels`: label → reader. */
const OUR_LABELS: Record<string, (c: Context, field: Field, text: string, draft: ServiceDraft) => void> = {
  'weft.affinity': (c, field, text, { traits }) => {
    if (text === 'client') traits.affinity = 'client';
    else if (text !== 'none') reject(c, field, `the label weft.affinity is "client" or "none", found ${quote(text)}`);
  },
  'weft.drain': (c, field, text, { traits }) => {
    const ms = parseDurationMs(text);
    if (ms === undefined || ms > MAX_DRAIN_MS)
      reject(c, field, `the label weft.drain is a time like "1s", one hour at most, found ${quote(text)}`);
    else traits.drainMs = ms;
  },
  'weft.dns-ttl': (c, field, text, { traits }) => {
    const ms = parseDurationMs(text);
    if (ms === undefined || ms % 1000 !== 0 || ms / 1000 > MAX_TTL_SECONDS)
      reject(c, field, `the label weft.dns-ttl is a time in whole seconds like "30s", one day at most, found ${quote(text)}`);
    else traits.dnsTtlSeconds = ms / 1000;
  },
};

/** `deploy.labels` are of the service, not of its containers; those that begin with `weft.` say something to Weft. */
export function readServiceLabels(c: Context, field: Field, draft: ServiceDraft): void {
  const labels = readLabels(c, field);
  if (Object.keys(labels).length > 0) draft.traits.labels = labels;
  for (const [label, text] of Object.entries(labels)) {
    if (!label.startsWith('weft.')) continue;
    const entry = field.value.kind === 'map' ? entriesOf(c, field)?.find((e) => e.key === label) : undefined;
    const read = Object.hasOwn(OUR_LABELS, label) ? OUR_LABELS[label] : undefined;
    if (read) read(c, entry ?? field, text, draft);
    else {
      const near = nearest(label, Object.keys(OUR_LABELS));
      const hint = near === undefined ? `known: ${Object.keys(OUR_LABELS).join(', ')}` : `did you mean "${near}"?`;
      reject(c, entry ?? field, `${quote(label)} is no label that Weft knows`, hint);
    }
  }
}
