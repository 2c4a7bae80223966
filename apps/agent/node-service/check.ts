/** What the kernel is asked on behalf of `ctl network trace` and `ctl network doctor`: what differs, and whether a packet passes. */
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import type { Run } from '#linux/runner.js';
import { ID_PATTERN } from '#model/names.js';
import { describeFault, type Fault } from '#overlay/faults.js';
import { namespacePath, taskNamespace } from '#overlay/names.js';
import type { CheckKernelResponse, ProbeRequest, ProbeResponse } from '#rpc/gen/weft/v1/api.js';

export interface CheckDeps {
  /** The three are left out where there is no kernel to ask. */
  faults?: (() => Promise<Fault[]>) | undefined;
  run?: Run | undefined;
  clock?: Clock | undefined;
}

const TIMEOUT_MS = 8_000;
const PING_WAIT_S = '2';
/** IPv4 and ICMP headers (RFC 791, RFC 792), in bytes. */
const PING_HEADERS_BYTES = 28;
const MAX_BYTES = 65_535;
const PROBE = fileURLToPath(new URL('../probe/main.js', import.meta.url));

export async function checkKernel({ faults, clock }: CheckDeps): Promise<CheckKernelResponse> {
  if (!faults || !clock) throw new WeftError('UNAVAILABLE', 'this node has no kernel to ask');
  const found = await faults();
  return {
    faults: found.map((f) => ({ namespace: f.ns, kind: f.kind, key: f.key, text: describeFault(f, 'is') })),
    at: clock.now(),
    checksumErrors: checksumErrorsIn(await readFile('/proc/net/snmp', 'utf8').catch(() => '')),
  };
}

/** Of /proc/net/snmp: a line of titles and a line of values for each protocol. Pure. */
export function checksumErrorsIn(text: string): number {
  const lines = text.split('\n').map((line) => line.split(' '));
  let sum = 0;
  for (const [at, titles] of lines.entries()) {
    const values = lines[at + 1];
    const column = titles.indexOf('InCsumErrors');
    if (column > 0 && (titles[0] === 'Udp:' || titles[0] === 'Tcp:') && values?.[0] === titles[0]) sum += Number(values[column] ?? 0) || 0;
  }
  return sum;
}

/** @throws BAD_VALUE, UNAVAILABLE, COMMAND_FAILED */
export async function probe({ run }: CheckDeps, request: ProbeRequest): Promise<ProbeResponse> {
  const { task, protocol, address, port, sizeBytes, source } = request;
  if (!run) throw new WeftError('UNAVAILABLE', 'this node sends no probes');
  const isRight =
    (task === '' || ID_PATTERN.test(task)) && isIP(address) !== 0 && (source === '' || isIP(source) !== 0) && sizeBytes <= MAX_BYTES;
  if (!isRight) throw new WeftError('BAD_VALUE', 'a probe goes from a task to an address');
  const enter = task === '' ? [] : ['nsenter', `--net=${namespacePath(taskNamespace(task))}`, '--'];
  if (protocol === 'tcp') {
    const { stdout } = await run([...enter, process.execPath, PROBE, address, String(port)], { timeoutMs: TIMEOUT_MS });
    const { why, ms } = JSON.parse(stdout) as { why: string; ms: number };
    return { ok: why === '', why, milliseconds: ms };
  }
  const size = sizeBytes > 0 ? ['-M', 'do', '-s', String(Math.max(0, sizeBytes - PING_HEADERS_BYTES))] : [];
  const from = source === '' ? [] : ['-I', source];
  const argv = [...enter, 'ping', '-n', '-c', '2', '-i', '0.2', '-W', PING_WAIT_S, ...size, ...from, address];
  const { stdout, stderr, exitCode } = await run(argv, { accept: [1, 2], timeoutMs: TIMEOUT_MS });
  return {
    ok: exitCode === 0,
    why: exitCode === 0 ? '' : whyNot(`${stdout}\n${stderr}`),
    milliseconds: Number(/time=([\d.]+)/.exec(stdout)?.[1] ?? 0),
  };
}

function whyNot(said: string): string {
  if (/too long|mtu[ =]/i.test(said))
    return `the packet is too large for the path${/mtu ?[=:] ?(\d+)/i.exec(said)?.[0] ? ` (${/mtu ?[=:] ?(\d+)/i.exec(said)?.[0]})` : ''}`;
  return /(Destination [A-Za-z ]+|Network is unreachable|Operation not permitted)/.exec(said)?.[1]?.trim() ?? 'no answer';
}
