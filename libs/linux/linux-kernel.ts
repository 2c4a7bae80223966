/**
 * The real kernel, driven by `ip`, `bridge`, `nft`, `sysctl` and `conntrack` from iproute2, nftables, procps and
 * conntrack-tools. A plan costs one process for each tool and namespace it touches, however many lines it has.
 */
import { messageOf } from '#base/errors.js';
import type { KernelState, NamespaceState } from '#overlay/kernel-state.js';
import { emptyNamespace, isChild, isRule6, keyed, NODE_NAMESPACE, peerKey } from '#overlay/kernel-state.js';
import { isSpareNamespace } from '#overlay/names.js';
import type { Operation } from '#overlay/operation.js';
import type { Line, Tool } from './commands.js';
import { commandLine, linesOf, OWN_ID, toolOf } from './commands.js';
import { Conntrack } from './conntrack.js';
import type { Entry } from './enter.js';
import { entry } from './enter.js';
import type { Failure, Kernel, ObserveOptions } from './kernel.js';
import type { TableOperation } from './nft.js';
import { NftTables } from './nft.js';
import type { Seen } from './observe.js';
import { hasChildren, nodeLinks, rowsOf, see, seeFdb, seenIn, seeSysctls, seeTunnels, showLines, sysctlsIn, taskLinks } from './observe.js';
import type { Sessions } from './sessions.js';
import type { Run } from './runner.js';
import { mapLimit } from './runner.js';
import { inStages, type Stage } from './stages.js';
import type { Standby } from './standby.js';
import type { WireguardOperation, WireguardSecrets } from './wireguard.js';
import { applyWireguard, noSecrets, settingsOf } from './wireguard.js';

export interface LinuxKernelOptions {
  /** Name of the node's namespace below /run/netns; the process's own if left out. */
  enter?: string;
  runner?: Run;
  /** Keeps an nft in namespaces whose virtual addresses change. */
  sessions?: Sessions;
  /** Starts `ip` before it is needed. */
  standby?: Standby;
  /** Keys for WireGuard; none if left out. */
  secrets?: WireguardSecrets;
  /** Directory for files that a command reads; nobody else may write there. The system's temporary one if left out. */
  scratchDir?: string;
}

type TakeNamespace = Extract<Operation, { op: 'takeNamespace' }>;

const isOfNamespaces = (o: Operation): boolean => o.op === 'removeNamespace' || o.op === 'addNamespace' || o.op === 'takeNamespace';

/** Namespaces worked on at a time. */
const PARALLEL = 4;

/** Arguments of an `ip` that carries out lines and goes on after one that fails… */
const BATCH = ['-force', '-batch', '-'];
/** …and of one that also says what it is asked. */
const TELLING_BATCH = ['-d', '-j', ...BATCH];

export class LinuxKernel implements Kernel {
  readonly #entry: Entry;
  readonly #nft: NftTables;
  readonly #secrets: WireguardSecrets;
  readonly #conntrack: Conntrack;
  /** What was read back in namespaces made by the last plan, by the very processes that filled them. */
  readonly #fresh = new Map<string, { seen?: Seen; sysctls?: string }>();
  /** Spares of the plan under way that have no task's name yet, by the name that each gets. */
  #taken = new Map<string, TakeNamespace>();

  constructor(options: LinuxKernelOptions = {}) {
    this.#entry = entry(options.enter, options.runner, options.sessions, options.standby);
    this.#nft = new NftTables(this.#entry);
    this.#secrets = options.secrets ?? noSecrets;
    this.#conntrack = new Conntrack(this.#entry, options.scratchDir);
  }

  async observe(like: KernelState, options: ObserveOptions = {}): Promise<KernelState> {
    const { only } = options;
    const fresh = only && this.#takeFresh(only, like);
    if (fresh) return { namespaces: fresh };
    const node = await see(this.#entry, NODE_NAMESPACE, hasRules6(like, NODE_NAMESPACE));
    const ours = [...node.taskNamespaces.values()].filter((ns) => only?.includes(ns) ?? true);
    const tasks = new Map(await mapLimit(ours, PARALLEL, async (ns) => [ns, await see(this.#entry, ns, hasRules6(like, ns))] as const));
    const states = await mapLimit(
      ours,
      PARALLEL,
      async (ns) => [ns, await this.#taskState(ns, tasks.get(ns) as Seen, node, like)] as const,
    );
    const namespaces: Record<string, NamespaceState> = Object.fromEntries(states);
    if (only === undefined) namespaces[NODE_NAMESPACE] = await this.#nodeState(node, tasks, like);
    return { namespaces };
  }

  async tables(ns: string): ReturnType<Kernel['tables']> {
    if (isSpareNamespace(ns)) this.#keepReady(ns);
    const { texts, vips, elements } = await this.#nft.observe(ns);
    return { nft: texts, vips, elements };
  }

  async apply(operations: readonly Operation[]): Promise<{ failed: Failure[] }> {
    // A namespace of that name is another one from here on.
    const others = operations.filter(isOfNamespaces).map((o) => o.ns);
    for (const ns of others) this.#nft.forget(ns);
    await Promise.all(operations.map((o) => (o.op === 'removeNamespace' || o.op === 'addNamespace' ? this.#leave(o.ns) : undefined)));
    this.#fresh.clear();
    for (const o of operations) if (o.op === 'addNamespace' || o.op === 'takeNamespace') this.#fresh.set(o.ns, {});
    const { first, namespaces, then, taken } = inStages(operations);
    this.#taken = taken;
    for (const { ns, from } of taken.values()) this.#entry.redirect(ns, from);
    const failed: Failure[] = [];
    for (const stage of first) failed.push(...(await this.#stage(stage)));
    const making = mapLimit([...namespaces], PARALLEL, ([ns, list]) => this.#makeNamespace(ns, list).catch(failureOf(list)));
    failed.push(...(await this.#stagesBeside(then, making)), ...(await making).flat());
    // Those that nothing was to be done in.
    for (const take of this.#taken.values()) failed.push(...(await this.#batch('ip', take.ns, []).catch(failureOf([take]))));
    this.#nft.readBack();
    for (const ns of this.#fresh.keys()) if (isSpareNamespace(ns)) this.#keepReady(ns);
    for (const [ns, { seen }] of this.#fresh) if (!seen) await this.#entry.standby?.drop(ns, TELLING_BATCH);
    return { failed };
  }

  /** Ends what is kept in a namespace: it would keep it alive. */
  async #leave(ns: string): Promise<void> {
    await this.#entry.session?.end(ns);
    if (isSpareNamespace(ns)) await this.#entry.standby?.drop(ns, TELLING_BATCH);
  }

  /** Whoever is to wait in a spare does, with what gives it its name and what fills it. */
  #keepReady(spare: string): void {
    this.#entry.standby?.prepare(spare, TELLING_BATCH);
    // Started by being told nothing. Where there is no place for one, it is done without.
    void this.#entry.session?.tell(spare, '').catch(() => undefined);
  }

  /** One stage after another; beside `making` of namespaces goes only what loads tables elsewhere. */
  async #stagesBeside(stages: readonly Stage[], making: Promise<unknown>): Promise<Failure[]> {
    const failed: Failure[] = [];
    for (const [n, stage] of stages.entries()) {
      const goesBeside = stage.tool === 'nft' && [...stage.byNamespace.keys()].every((ns) => !this.#fresh.has(ns));
      if (!goesBeside) await making;
      const failures = await this.#stage(stage);
      failed.push(...failures);
      // Fail closed: without the node's firewall no device comes up.
      if (!failures.some(({ operation: o }) => (o.op === 'putTable' || o.op === 'setElements') && o.ns === NODE_NAMESPACE)) continue;
      const rest = stages.slice(n + 1).flatMap((s) => [...s.byNamespace.values()].flat());
      return [...failed, ...rest.map((operation) => ({ operation, error: 'not tried, since the firewall could not be loaded' }))];
    }
    return failed;
  }

  /** Makes a namespace with its settings and tables: one process of `ip`, which starts those of the others. */
  async #makeNamespace(ns: string, operations: readonly Operation[]): Promise<Failure[]> {
    const made = operations.filter((o) => o.op === 'addNamespace');
    const settings = operations.filter((o) => o.op === 'setSysctl');
    const tables = operations.filter((o) => toolOf(o) === 'nft') as TableOperation[];
    const parts: { of: readonly Operation[]; line: Line | undefined }[] = [
      ...made.flatMap((o) => linesOf(o).map((line) => ({ of: [o], line }))),
      { of: settings, line: commandLine(ns, this.#settingWords(ns, settings)) },
      { of: tables, line: commandLine(ns, NftTables.command(tables)) },
    ];
    const lines = parts.flatMap(({ of: [operation], line }) => (operation && line ? [{ operation, line }] : []));
    const { stdout, failures } = await this.#lines('ip', NODE_NAMESPACE, lines, BATCH);
    this.#entry.standby?.prepare(ns, TELLING_BATCH);
    this.#noteSettings(ns, stdout);
    const loading = lines.some(({ operation }) => operation === tables[0]);
    if (loading && tables[0] && !failures.has(tables[0])) await this.#nft.note(ns, tables);
    // What cannot be said in a line goes the usual way.
    const others = parts.flatMap(({ of, line }) => (of[0] && !line ? [this.#run(toolOf(of[0]), ns, of)] : []));
    // A line carries out all that it stands for, or nothing.
    const failed = [...failures].flatMap(([operation, error]) =>
      (parts.find(({ of }) => of[0] === operation)?.of ?? []).map((o) => ({ operation: o, error })),
    );
    return [...failed, ...(await Promise.all(others)).flat()];
  }

  /** Namespaces do not wait for one another. */
  async #stage({ tool, byNamespace }: Stage): Promise<Failure[]> {
    return (await mapLimit([...byNamespace], PARALLEL, ([ns, list]) => this.#run(tool, ns, list))).flat();
  }

  async #nodeState(node: Seen, tasks: ReadonlyMap<string, Seen>, like: KernelState): Promise<NamespaceState> {
    const wanted = like.namespaces[NODE_NAMESPACE] ?? emptyNamespace();
    const [fdb, tunnels, nft, sysctls] = await Promise.all([
      seeFdb(this.#entry),
      seeTunnels(this.#entry, node),
      this.#nft.observe(NODE_NAMESPACE),
      seeSysctls(this.#entry, NODE_NAMESPACE, wanted.sysctls, (name) => node.links.some((l) => l.ifname === name)),
    ]);
    const peers = keyed(
      [...tunnels.values()].flatMap((t) => t.peers.map(settingsOf)),
      peerKey,
    );
    return {
      ...rowsOf(node, fdb),
      links: nodeLinks(node, tasks, tunnels),
      peers,
      nft: nft.texts,
      vips: nft.vips,
      elements: nft.elements,
      sysctls,
      flows: wanted.flows,
      doors: wanted.doors,
    };
  }

  async #taskState(ns: string, seen: Seen, node: Seen, like: KernelState): Promise<NamespaceState> {
    const wanted = like.namespaces[ns] ?? emptyNamespace();
    const nft = await this.#nft.observe(ns);
    const sysctls = await seeSysctls(this.#entry, ns, wanted.sysctls, () => true);
    return {
      ...rowsOf(seen, []),
      links: taskLinks(seen, node),
      peers: {},
      nft: nft.texts,
      vips: nft.vips,
      elements: nft.elements,
      sysctls,
      flows: wanted.flows,
      doors: wanted.doors,
    };
  }

  async #run(tool: Tool, ns: string, operations: readonly Operation[]): Promise<Failure[]> {
    try {
      switch (tool) {
        case 'ip':
        case 'ip6':
        case 'bridge':
          return await this.#batch(tool, ns, operations);
        case 'wg':
          return await applyWireguard(this.#entry, ns, operations as WireguardOperation[], this.#secrets);
        case 'nft':
          await this.#nft.load(ns, operations as TableOperation[], { isEmpty: this.#fresh.has(ns), isKept: this.#taken.has(ns) });
          return [];
        case 'sysctl':
          await this.#setSysctls(ns, operations);
          return [];
        case 'conntrack':
          await this.#conntrack.forget(ns, operations);
          return [];
      }
    } catch (thrown) {
      return failureOf(operations)(thrown);
    }
  }

  async #setSysctls(ns: string, operations: readonly Operation[]): Promise<void> {
    const { stdout } = await this.#entry.exec(ns, this.#settingWords(ns, operations));
    this.#noteSettings(ns, stdout);
  }

  /** A namespace just made is told to read itself back in the same breath. */
  #settingWords(ns: string, operations: readonly Operation[]): string[] {
    const settings = operations.flatMap((o) => (o.op === 'setSysctl' ? [o] : []));
    return ['sysctl', '-e', ...settings.map((o) => `${o.key}=${o.value}`), ...(this.#fresh.has(ns) ? settings.map((o) => o.key) : [])];
  }

  #noteSettings(ns: string, printed: string): void {
    const fresh = this.#fresh.get(ns);
    if (fresh) fresh.sysctls = (fresh.sysctls ?? '') + printed;
  }

  /** The namespaces asked for, if the last plan made them and read them back. It holds once: later they may have changed. */
  #takeFresh(only: readonly string[], like: KernelState): Record<string, NamespaceState> | undefined {
    const fresh = new Map(this.#fresh);
    this.#fresh.clear();
    const states = only.flatMap((ns): [string, NamespaceState][] => {
      const { seen, sysctls = '' } = fresh.get(ns) ?? {};
      return seen && !hasChildren(seen) && !hasRules6(like, ns) ? [[ns, this.#freshState(ns, seen, sysctls, like)]] : [];
    });
    return states.length === only.length ? Object.fromEntries(states) : undefined;
  }

  #freshState(ns: string, seen: Seen, printed: string, like: KernelState): NamespaceState {
    const wanted = like.namespaces[ns] ?? emptyNamespace();
    const sysctls = sysctlsIn(printed, wanted.sysctls, () => true);
    const nft = this.#nft.loaded(ns);
    return {
      ...rowsOf(seen, []),
      links: taskLinks(seen),
      peers: {},
      nft: nft.texts,
      vips: nft.vips,
      elements: nft.elements,
      sysctls,
      flows: wanted.flows,
      doors: wanted.doors,
    };
  }

  async #batch(tool: 'ip' | 'ip6' | 'bridge', ns: string, operations: readonly Operation[]): Promise<Failure[]> {
    const take = tool === 'ip' ? this.#taken.get(ns) : undefined;
    const all = take ? [take, ...operations] : operations;
    const lines = all.flatMap((operation) => linesOf(this.#inSpare(operation)).map((line) => ({ operation, line })));
    const fresh = tool === 'ip' && ns !== NODE_NAMESPACE ? this.#fresh.get(ns) : undefined;
    const { stdout, failures } = await this.#lines(tool, ns, lines, fresh ? TELLING_BATCH : BATCH, fresh ? showLines(ns) : []).finally(
      () => {
        if (take) this.#isTaken(take);
      },
    );
    if (fresh) fresh.seen = seenIn(ns, stdout);
    return [...failures].map(([operation, error]) => ({ operation, error }));
  }

  /** It has its name. */
  #isTaken({ ns, from }: TakeNamespace): void {
    this.#taken.delete(ns);
    this.#entry.redirect(ns, undefined);
    void this.#entry.session?.end(from).catch(() => undefined);
  }

  /** A link into a namespace that has no name of its own yet. */
  #inSpare(o: Operation): Operation {
    if (o.op !== 'addLink' || this.#taken.size === 0) return o;
    const at = (ns: string) => this.#taken.get(ns)?.from ?? ns;
    if (isChild(o.link)) return { ...o, ns: at(o.ns) };
    return o.link.kind === 'veth' ? { ...o, link: { ...o.link, peerNamespace: at(o.link.peerNamespace) } } : o;
  }

  /**
   * `-force` goes on after a line that fails, and says on stderr which one it was.
   * @param asked more lines, which make it tell something
   */
  async #lines(
    tool: 'ip' | 'ip6' | 'bridge',
    ns: string,
    lines: readonly { operation: Operation; line: Line }[],
    args: readonly string[],
    asked: readonly string[] = [],
  ): Promise<{ stdout: string; failures: Map<Operation, string> }> {
    const options = { input: `${[...lines.map((l) => l.line.text), ...asked].join('\n')}\n`, ownId: OWN_ID, accept: [1, 2] };
    const result =
      tool === 'bridge'
        ? this.#entry.exec(ns, ['bridge', ...args], options)
        : this.#entry.ip(ns, tool === 'ip6' ? ['-6', ...args] : args, options);
    // The next is started while this one works.
    if (tool === 'ip' && ns === NODE_NAMESPACE) this.#entry.standby?.prepare(ns, args);
    const { stdout, stderr, exitCode } = await result;
    const failures = batchFailures(stderr, lines);
    if (exitCode !== 0 && failures.size === 0 && !/Command failed -:\d+/.test(stderr)) throw new Error(stderr.trim());
    return { stdout, failures };
  }
}

const failureOf =
  (operations: readonly Operation[]) =>
  (thrown: unknown): Failure[] =>
    operations.map((operation) => ({ operation, error: messageOf(thrown) }));

/** Rules of IPv6 are not among what a namespace says of itself in one breath. */
const hasRules6 = (state: KernelState, ns: string): boolean => Object.values(state.namespaces[ns]?.rules ?? {}).some(isRule6);

/** The operations whose lines failed, with what the tool said: the text before `Command failed -:<line>`. */
function batchFailures(stderr: string, lines: readonly { operation: Operation; line: Line }[]): Map<Operation, string> {
  const failures = new Map<Operation, string>();
  let said: string[] = [];
  for (const text of stderr.split('\n')) {
    const number = /^Command failed -:(\d+)/.exec(text)?.[1];
    if (number === undefined) {
      if (text.trim() !== '') said.push(text.trim());
      continue;
    }
    const at = lines[Number(number) - 1];
    if (at && !at.line.optional) failures.set(at.operation, `${at.line.text}: ${said.join(' ')}`);
    said = [];
  }
  return failures;
}
