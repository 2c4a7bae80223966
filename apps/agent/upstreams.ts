/** The host's own name servers, from its resolv.conf (resolv.conf(5)), followed as it changes. */
import { unwatchFile, watchFile } from 'node:fs';
import { isIP } from 'node:net';
import type { Stop } from '#base/dispose.js';
import { readIfThere } from './atomic-file.js';

const POLL_MS = 2_000;
/** Where systemd-resolved listens, and where it says whom it asks itself (systemd-resolved.service(8)). */
const STUBS = new Set(['127.0.0.53', '127.0.0.54']);
const BEHIND_STUB = '/run/systemd/resolve/resolv.conf';

/** The name servers in a resolv.conf, in order. Pure. */
export function nameServersIn(text: string): string[] {
  const servers = text.split('\n').flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? []);
  return [...new Set(servers.filter((s) => isIP(s.replace(/%[\w.-]+$/, '')) !== 0))];
}

/**
 * Whom to ask. Where the host has systemd-resolved's stub only, those whom that asks: the stub answers from the node's own
 * loopback, which need not be there in every namespace, and one cache is enough. Pure.
 */
export function upstreamsOf(hostText: string, behindStubText: string): string[] {
  const servers = nameServersIn(hostText);
  if (servers.length === 0 || !servers.every((s) => STUBS.has(s))) return servers;
  const behind = nameServersIn(behindStubText).filter((s) => !STUBS.has(s));
  return behind.length > 0 ? behind : servers;
}

/** Calls `onChange` with the servers now and whenever they changed; a missing file has none. */
export async function followUpstreams(path: string, onChange: (servers: string[]) => void, behindStub = BEHIND_STUB): Promise<Stop> {
  let last: string | undefined;
  const textOf = async (file: string) => (await readIfThere(file).catch(() => undefined)) ?? '';
  const look = async () => {
    // In this order: who writes that there is a stub has written before who is behind it.
    const host = await textOf(path);
    const behind = await textOf(behindStub);
    const servers = upstreamsOf(host, behind);
    if (servers.join() === last) return;
    last = servers.join();
    onChange(servers);
  };
  // One look after another: the later one has the later word.
  let looking = Promise.resolve();
  const listener = () => void (looking = looking.then(look));
  // Polled by stat: the file is replaced by rename more often than written, and links come and go.
  for (const file of [path, behindStub]) watchFile(file, { interval: POLL_MS, persistent: false }, listener);
  await look();
  return () => {
    for (const file of [path, behindStub]) unwatchFile(file, listener);
  };
}
