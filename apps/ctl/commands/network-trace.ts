/** `ctl network trace` and `ctl network doctor`: where a way breaks, and what is wrong anywhere. */
import { Command } from 'commander';
import { WeftError } from '#base/errors.js';
import { callUnary } from '#rpc/client.js';
import { withApi } from '../connection.js';
import { flagsOf, listingOptions, type CommonFlags } from '../options.js';
import { json, listing, table, type Column } from '../render/table.js';
import { print, say, type Shell } from '../shell.js';

const TIMEOUT_MS = 120_000;
const MAX_PORT = 65_535;

/** `TO[:PORT]`; an IPv6 address with a port is `[ADDRESS]:PORT`. @throws USAGE */
export function goalOf(text: string): { to: string; port: number } {
  const bracketed = /^\[([0-9a-fA-F:]+)\](?::(\d+))?$/.exec(text);
  const plain = /^([^:]+)(?::(\d+))?$/.exec(text);
  const [, to = text, port = '0'] = bracketed ?? plain ?? [];
  if (Number(port) <= MAX_PORT) return { to, port: Number(port) };
  throw new WeftError('USAGE', { what: `there is no port ${port}`, hint: 'Write TO:PORT with a port from 1 to 65535.' });
}

interface HopLine {
  step: string;
  node: string;
  what: string;
  state: string;
  [key: string]: string;
}

const hopColumns: Column<HopLine>[] = [
  { title: 'HOP', text: (r) => r.step },
  { title: 'NODE', text: (r) => r.node },
  { title: 'WHAT', text: (r) => r.what },
  { title: 'STATE', text: (r) => r.state },
];

export function traceCommand(shell: Shell): Command {
  const command = listingOptions(new Command('trace'))
    .description('walk the path from one place to another, check each hop in the kernel, and send a probe')
    .argument('<from>', 'a task, a node, or (with -p) a service')
    .argument('<to>', 'a task, name, virtual address or address; with :PORT a TCP connection is tried')
    .option('-p, --project-name <name>', 'the stack of the service');
  return command.action(async (from: string, goal: string) => {
    const flags = flagsOf<CommonFlags & { projectName?: string }>(command);
    const { to, port } = goalOf(goal);
    await withApi(shell, flags.context, async ({ api, target }) => {
      const request = { from, to, port, stack: flags.projectName ?? '' };
      const { hops, ok, verdict, remedy } = await callUnary(api, 'traceNetwork', request, { target, timeoutMs: TIMEOUT_MS });
      if (flags.format === 'json') print(shell, json({ from, to, port, ok, verdict, remedy, hops }));
      else {
        const lines = hops.map((h): HopLine => ({ step: h.step, node: h.node, what: h.what, state: h.ok ? 'ok' : h.faults.join('; ') }));
        print(shell, `${table(lines, hopColumns)}\n${verdict}\n`);
        if (remedy !== '') print(shell, `${remedy}\n`);
      }
      if (!ok) throw new WeftError('UNAVAILABLE', { what: `there is no way from ${from} to ${goal}`, why: verdict, hint: remedy });
    });
  });
}

interface FindingLine {
  severity: string;
  node: string;
  code: string;
  what: string;
  remedy: string;
  [key: string]: string;
}

const findingColumns: Column<FindingLine>[] = [
  { title: 'SEVERITY', text: (r) => r.severity },
  { title: 'WHERE', text: (r) => r.node },
  { title: 'WHAT', text: (r) => r.what },
  { title: 'REMEDY', text: (r) => r.remedy },
];

export function doctorCommand(shell: Shell): Command {
  const command = listingOptions(new Command('doctor')).description(
    'look at every node and every way between them; say what is wrong, the worst first',
  );
  return command.action(async () => {
    const flags = flagsOf<CommonFlags>(command);
    await withApi(shell, flags.context, async ({ api, target }) => {
      const { findings, checked } = await callUnary(api, 'diagnoseNetworks', {}, { target, timeoutMs: TIMEOUT_MS });
      const rows = findings.map(({ severity, node, code, what, remedy }): FindingLine => ({ severity, node, code, what, remedy }));
      if (rows.length > 0 || flags.format === 'json') print(shell, listing(rows, findingColumns, flags.format));
      for (const line of checked) say(shell, `looked at ${line}`);
      const broken = findings.filter((f) => f.severity === 'broken').length;
      if (broken > 0)
        throw new WeftError('UNAVAILABLE', {
          what: `${broken} finding(s) are of something broken`,
          hint: 'The remedies stand beside them.',
        });
      say(shell, rows.length === 0 ? 'nothing is wrong' : 'nothing is broken');
    });
  });
}
