/** Ports that something on this host listens on, from /proc (proc(5)): no process is started for it. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import type { ListeningPort } from '#model/node.js';

/** Name of the process that holds published ports: what it listens on is nobody else's. */
export const PORT_PROXY_PROCESS = 'weft-ports';

interface Socket {
  protocol: 'tcp' | 'udp';
  address: string;
  port: number;
  inode: string;
}

/** State numbers of /proc/net/tcp and udp: TCP_LISTEN, and TCP_CLOSE for a UDP socket that is bound and not connected. */
const LISTENING = { tcp: '0A', udp: '07' } as const;

/**
 * Socket inode → process name as found before; '' for a socket that no process holds, as the kernel's own. Looking through all
 * open files of a host costs tens of milliseconds, so it is done for new sockets only.
 */
let known: ReadonlyMap<string, string> = new Map();

/** Listening TCP and bound UDP sockets of this network namespace, sorted; the process's name where it can be told. Ports that are held for Weft are left out. */
export async function listeningPorts(): Promise<ListeningPort[]> {
  const files = ['tcp', 'tcp6', 'udp', 'udp6'] as const;
  const sockets = (
    await Promise.all(files.map(async (f) => parseSockets(await text(`/proc/self/net/${f}`), f.startsWith('tcp') ? 'tcp' : 'udp')))
  ).flat();
  const unknown = new Set(sockets.map((s) => s.inode).filter((inode) => !known.has(inode)));
  const owners = unknown.size === 0 ? known : new Map([...known, ...(await processesOf(unknown))]);
  known = new Map(sockets.map((s) => [s.inode, owners.get(s.inode) ?? '']));
  const ports = sockets.flatMap((s): ListeningPort[] => {
    const process = owners.get(s.inode);
    if (process === PORT_PROXY_PROCESS) return [];
    return [{ protocol: s.protocol, address: s.address, port: s.port, ...(process ? { process } : {}) }];
  });
  return ports.sort((a, b) => a.protocol.localeCompare(b.protocol) || a.port - b.port || a.address.localeCompare(b.address));
}

/** The sockets that listen, from the text of /proc/net/{tcp,tcp6,udp,udp6}. */
export function parseSockets(table: string, protocol: 'tcp' | 'udp'): Socket[] {
  return table
    .split('\n')
    .slice(1)
    .flatMap((line): Socket[] => {
      const fields = line.trim().split(/\s+/);
      const [address, port] = (fields[1] ?? '').split(':');
      if (fields[3] !== LISTENING[protocol] || address === undefined || port === undefined) return [];
      return [{ protocol, address: formatAddress(address), port: parseInt(port, 16), inode: fields[9] ?? '' }];
    });
}

/** Hex words, each in host byte order (little-endian here). */
function formatAddress(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).reverse());
  const ipv4 = (four: string[]) => four.map((b) => parseInt(b, 16)).join('.');
  if (bytes.length === 4) return ipv4(bytes);
  if (bytes.slice(0, 10).every((b) => b === '00') && bytes[10] === 'FF') return ipv4(bytes.slice(12));
  if (bytes.every((b) => b === '00')) return '::';
  const groups = Array.from({ length: 8 }, (_, i) => parseInt(`${bytes[2 * i]}${bytes[2 * i + 1]}`, 16).toString(16));
  return groups.join(':').replace(/(^|:)0(:0)+(:|$)/, '::');
}

/** Socket inode → process name. Stops as soon as all are found; processes that end meanwhile are passed over. */
async function processesOf(inodes: ReadonlySet<string>): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    if (found.size === inodes.size) break;
    const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
    const links = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
    const held = links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []).filter((inode) => inodes.has(inode));
    if (held.length === 0) continue;
    const name = (await text(`/proc/${pid}/comm`)).trim();
    for (const inode of held) found.set(inode, name);
  }
  return found;
}

const text = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');
