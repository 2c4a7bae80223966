/**
 * The one exception from "only our own tables": where Docker is, its FORWARD chain drops what is not Docker's, and an
 * accept of ours in another table cannot override that. Docker gives others a place to say otherwise, the chain
 * DOCKER-USER. There, and nowhere else, stand rules of ours, each with the comment "weft".
 *
 * They stand last: what the host's administrator decided there comes first. They leave Docker's own bridges to Docker.
 */
import { readFile } from 'node:fs/promises';
import type { Entry } from './enter.js';
import { NODE_NAMESPACE } from '#overlay/kernel-state.js';

const CHAIN = 'DOCKER-USER';
const TAG = ['-m', 'comment', '--comment', 'weft'];
/** In their order. */
const RULES: readonly (readonly string[])[] = [
  ['-i', 'wfb+', '-o', 'docker+', ...TAG, '-j', 'RETURN'],
  ['-i', 'wfb+', '-o', 'br-+', ...TAG, '-j', 'RETURN'],
  ['-i', 'wfb+', ...TAG, '-j', 'ACCEPT'],
  ['-o', 'wfb+', ...TAG, '-j', 'ACCEPT'],
];

interface Variant {
  tool: string;
  isThere: (entry: Entry) => Promise<boolean>;
}

const inNft = (family: string) => async (entry: Entry) =>
  (await entry.exec(NODE_NAMESPACE, ['nft', 'list', 'chain', family, 'filter', CHAIN], { accept: [1] })).exitCode === 0;
/** Asking iptables-legacy makes its tables: only where they are already. */
const inLegacy = (names: string, tool: string) => async (entry: Entry) => {
  const tables = await readFile(names, 'utf8').catch(() => '');
  if (!tables.split('\n').includes('filter')) return false;
  return (await entry.exec(NODE_NAMESPACE, [tool, '-w', '2', '-S', CHAIN], { accept: [1, 2, 3] })).exitCode === 0;
};

const VARIANTS: readonly Variant[] = [
  { tool: 'iptables-nft', isThere: inNft('ip') },
  { tool: 'ip6tables-nft', isThere: inNft('ip6') },
  { tool: 'iptables-legacy', isThere: inLegacy('/proc/net/ip_tables_names', 'iptables-legacy') },
  { tool: 'ip6tables-legacy', isThere: inLegacy('/proc/net/ip6_tables_names', 'ip6tables-legacy') },
];

/**
 * Puts our rules there, or takes them away, wherever the chain is. Does nothing where all is as it should be.
 * @returns the tools whose chain had to be changed
 */
export async function keepDockerUser(entry: Entry, wanted: boolean): Promise<string[]> {
  const changed: string[] = [];
  for (const { tool, isThere } of VARIANTS) {
    if (!(await isThere(entry))) continue;
    if (await put(entry, tool, wanted ? RULES : [])) changed.push(tool);
  }
  return changed;
}

async function put(entry: Entry, tool: string, rules: readonly (readonly string[])[]): Promise<boolean> {
  const iptables = (...args: string[]) => entry.exec(NODE_NAMESPACE, [tool, '-w', '2', ...args]);
  const lines = (await iptables('-S', CHAIN)).stdout.split('\n').filter((line) => line.startsWith(`-A ${CHAIN}`));
  if (isAsWanted(lines, rules)) return false;
  const ours = lines.flatMap((line, i) => (isOurs(line) ? [i + 1] : [])).reverse();
  for (const number of ours) await iptables('-D', CHAIN, String(number));
  const others = lines.filter((line) => !isOurs(line));
  // Older versions of Docker end the chain with a RETURN: nothing behind it is ever met.
  const end = others.at(-1) === `-A ${CHAIN} -j RETURN` ? others.length : others.length + 1;
  for (const [i, rule] of rules.entries()) await iptables('-I', CHAIN, String(end + i), ...rule);
  return true;
}

const isOurs = (line: string): boolean => /--comment "?weft"?( |$)/.test(line);

/** Ours are there, in order, together, and in front of a closing RETURN. */
function isAsWanted(lines: readonly string[], rules: readonly (readonly string[])[]): boolean {
  const shown = rules.map((rule) => `-A ${CHAIN} ${rule.join(' ')}`);
  const ours = lines.filter(isOurs).map((line) => line.replaceAll('"', ''));
  if (ours.length !== shown.length || ours.some((line, i) => line !== shown[i])) return false;
  const closing = lines.indexOf(`-A ${CHAIN} -j RETURN`);
  return closing < 0 || lines.findLastIndex(isOurs) < closing;
}
