/** `ports` in the short form: `[[IP:]PUBLISHED:]TARGET[/PROTOCOL]`, both ports possibly ranges (Compose Specification, "ports"). */
import { reject, type Field } from './context.js';
import { quote } from './issue.js';
import type { Expander, Short } from './shape.js';
import { mapAt } from './short-forms.js';
import type { Value } from './tree.js';

const MAX_PORT = 65_535;
const PROTOCOLS = ['tcp', 'udp', 'sctp'];

interface Range {
  first: number;
  last: number;
}

export function parseRange(text: string): Range | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return first >= 1 && last <= MAX_PORT && first <= last ? { first, last } : undefined;
}

/** One text may stand for several ports: the result is then a list. */
export const port: Short = (e, field) => {
  const { value } = field;
  if (value.kind !== 'scalar' || value.value === null || typeof value.value === 'boolean') return value;
  const text = value.text;
  const fail = (message: string, hint?: string): undefined => void reject(e.c, field, `${message}, found ${quote(text)}`, hint);
  const slash = text.indexOf('/');
  const protocol = slash < 0 ? 'tcp' : text.slice(slash + 1).toLowerCase();
  if (!PROTOCOLS.includes(protocol)) return fail('the protocol after "/" must be tcp, udp or sctp');
  const parts = splitAddress(slash < 0 ? text : text.slice(0, slash));
  if (!parts) return fail('expected [IP:][PUBLISHED:]TARGET[/PROTOCOL]', 'an IPv6 address stands in [ ]');
  const target = parseRange(parts.target);
  const published = parts.published ? parseRange(parts.published) : undefined;
  if (!target || (parts.published && !published)) return fail(`ports are numbers from 1 to ${MAX_PORT}, or ranges like 8000-8010`);
  const sizes = [target, published].map((range) => (range ? range.last - range.first : 0));
  if (published && sizes[0] !== sizes[1] && sizes[0] !== 0) return fail('the two ranges must have the same length');
  return spread(e, field, { target, published, protocol, ip: parts.ip });
};

function spread(
  _: Expander,
  { value: { at } }: Field,
  found: { target: Range; published?: Range | undefined; protocol: string; ip?: string | undefined },
): Value {
  const { target, published, protocol, ip } = found;
  const items: Value[] = [];
  for (let inside = target.first; inside <= target.last; inside++) {
    const whole = published && target.first === target.last && published.first !== published.last;
    const outside = published && (whole ? `${published.first}-${published.last}` : String(published.first + inside - target.first));
    items.push(mapAt(at, { mode: 'ingress', host_ip: ip, target: inside, published: outside, protocol }));
  }
  return items.length === 1 && items[0] ? items[0] : { kind: 'list', at, items };
}

/** The address may be IPv6: in brackets, or plain, since the last two parts are ports. */
function splitAddress(text: string): { ip?: string | undefined; published?: string | undefined; target: string } | undefined {
  const bracket = /^\[([0-9a-fA-F:.%a-z]+)\]:(.*)$/.exec(text);
  const rest = (bracket?.[2] ?? text).split(':');
  const target = rest.pop() ?? '';
  const published = rest.pop();
  const plain = rest.join(':');
  if (bracket && plain !== '') return undefined;
  const ip = bracket?.[1] ?? (plain === '' ? undefined : plain);
  return ip !== undefined && published === undefined ? undefined : { ip, published: published || undefined, target };
}
