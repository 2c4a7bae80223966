/** The host's own name servers, from its resolv.conf (resolv.conf(5)), followed as it changes. */
import { unwatchFile, watchFile } from 'node:fs';
import { isIpv4 } from '#base/address.js';
import type { Stop } from '#base/dispose.js';
import { readIfThere } from './atomic-file.js';

const POLL_MS = 2_000;

/** The IPv4 name servers in a resolv.conf, in order. Pure. */
export function nameServersIn(text: string): string[] {
  const servers = text.split('\n').flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? []);
  return [...new Set(servers.filter(isIpv4))];
}

/** Calls `onChange` with the servers now and whenever the file's content changed; a missing file has none. */
export async function followUpstreams(path: string, onChange: (servers: string[]) => void): Promise<Stop> {
  let last: string | undefined;
  const look = async () => {
    const servers = nameServersIn((await readIfThere(path).catch(() => undefined)) ?? '');
    if (servers.join() === last) return;
    last = servers.join();
    onChange(servers);
  };
  const listener = () => void look();
  // Polled by stat: the file is replaced by rename more often than written, and links come and go.
  watchFile(path, { interval: POLL_MS, persistent: false }, listener);
  await look();
  return () => unwatchFile(path, listener);
}
