/** Image references, by the grammar of the OCI distribution project: `[host[:port]/]path[:tag][@sha256:…]`. */

const HOST = /^([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*(:\d{1,5})?$/;
const PATH_PART = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const MAX_LENGTH = 512;

/** What is wrong with a reference; undefined when nothing is. */
export function faultOfReference(text: string): string | undefined {
  if (text === '') return 'it is empty';
  if (text.length > MAX_LENGTH) return `it is longer than ${MAX_LENGTH} characters`;
  const at = text.indexOf('@');
  if (at >= 0 && !DIGEST.test(text.slice(at + 1))) return 'what follows "@" is not sha256: and 64 hexadecimal digits';
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1);
  if (colon >= 0 && !TAG.test(named.slice(colon + 1))) return 'the tag after ":" has letters, digits, "_", "." and "-" only';
  return faultOfName(colon < 0 ? named : named.slice(0, colon));
}

function faultOfName(name: string): string | undefined {
  const parts = name.split('/');
  const first = parts[0] ?? '';
  const hasHost = parts.length > 1 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  if (hasHost && !HOST.test(first)) return 'the registry is not a host name with an optional port';
  const path = hasHost ? parts.slice(1) : parts;
  if (path.every((part) => PATH_PART.test(part))) return undefined;
  return name === name.toLowerCase() ? 'a name has lower-case letters, digits and single separators' : 'a name is lower-case';
}
