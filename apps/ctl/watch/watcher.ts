/** Carries `develop.watch` out: looks for changes, and copies, runs, restarts or builds anew. */
import { join } from 'node:path';
import { readFile } from 'node:fs/promises';
import { messageOf } from '#base/errors.js';
import type { BuildWish, WatchRule } from '#compose/build-wish.js';
import type { Stack } from '#model/stack.js';
import { callUnary, openBidi } from '#rpc/client.js';
import type { ExecRequest, ExecResponse, TaskRow } from '#rpc/gen/weft/v1/api.js';
import type { Connection } from '../connection.js';
import { say, type Shell } from '../shell.js';
import { isRunning } from '../which-tasks.js';
import { writeAll } from '../write-all.js';
import { difference, lookAt, type FileTree, type TreeChange, type TreeFilter } from './file-tree.js';
import { ignoreBy } from './patterns.js';
import { followersOf, processOf, restartInPlace } from './restart-in-place.js';
import { filesText, syncInto } from './sync.js';

/** From one look to the next, in milliseconds; longer where looking takes long. */
const LOOK_MS = 300;
/** Of the time, at most this part is spent looking. */
const LOOK_SHARE = 0.1;
/** From one look for new containers to the next, where something was copied, in milliseconds. */
const MEET_MS = 1000;

/** A rule, and what was seen of its files. */
interface Watched {
  service: string;
  rule: WatchRule;
  filter: TreeFilter;
  seen: FileTree;
  /** What was copied since the beginning: a new container lacks it. */
  touched: Set<string>;
}

export interface WatcherTools {
  shell: Shell;
  connection: Connection;
  stack: Pick<Stack, 'name' | 'services'>;
  /** Builds the services and rolls them out. */
  rebuild: (services: readonly string[]) => Promise<void>;
  quiet: boolean;
}

export class Watcher {
  readonly #t: WatcherTools;
  readonly #watched: Watched[] = [];
  /** Processes whose containers have what was copied, tasks of which one was, and processes of which was told that they cannot be given it. */
  readonly #known = new Set<string>();
  readonly #knownTasks = new Set<string>();
  readonly #toldOf = new Set<string>();
  /** Monotonic milliseconds. */
  #metAt = 0;

  constructor(tools: WatcherTools) {
    this.#t = tools;
  }

  /** Looks for the first time. What is there already counts as old, but for rules with `initial_sync`. */
  async begin(watches: ReadonlyMap<string, readonly WatchRule[]>, builds: ReadonlyMap<string, BuildWish>): Promise<void> {
    for (const [service, rules] of watches) {
      for (const rule of rules) {
        const filter = await filterOf(rule, builds.get(service));
        const seen = await lookAt(rule.path, filter);
        this.#watched.push({ service, rule, filter, seen: rule.initialSync ? new Map() : seen, touched: new Set() });
      }
      for (const row of await this.#running(service)) this.#has(row);
    }
    this.#metAt = this.#t.shell.clock.monotonic();
  }

  /** Until `signal`. What an action fails with is told, and the watching goes on. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#t.shell;
    while (!signal.aborted) {
      const began = clock.monotonic();
      const changes = await this.#look();
      const tookMs = clock.monotonic() - began;
      for (const service of new Set(changes.map(({ watched }) => watched.service)))
        await this.#act(
          service,
          changes.filter(({ watched }) => watched.service === service),
        ).catch((error: unknown) => say(this.#t.shell, `warning: ${service}: ${messageOf(error)}`));
      if (clock.monotonic() - this.#metAt >= MEET_MS) await this.#meetAll();
      await clock.sleep(Math.max(LOOK_MS, tookMs / LOOK_SHARE), signal).catch(() => undefined);
    }
  }

  async #look(): Promise<{ watched: Watched; change: TreeChange }[]> {
    const found: { watched: Watched; change: TreeChange }[] = [];
    for (const watched of this.#watched) {
      const now = await lookAt(watched.rule.path, watched.filter);
      const change = difference(watched.seen, now);
      watched.seen = now;
      if (change.changed.length + change.gone.length > 0) found.push({ watched, change });
    }
    return found;
  }

  /** The strongest action wins: what is built anew needs no copies. */
  async #act(service: string, changes: readonly { watched: Watched; change: TreeChange }[]): Promise<void> {
    const { stack, rebuild } = this.#t;
    const wants = (...actions: WatchRule['action'][]): boolean => changes.some(({ watched }) => actions.includes(watched.rule.action));
    if (wants('rebuild')) {
      this.#tell(`${service}: building anew`);
      await rebuild([service]);
      // The image has what was copied before: it was made of the same files.
      for (const watched of this.#watched) if (watched.service === service) watched.touched.clear();
      return this.#meet(service);
    }
    for (const { watched, change } of changes) {
      for (const below of [...change.changed, ...change.gone]) watched.touched.add(below);
      if (watched.rule.target !== undefined) await this.#sync(watched, change);
    }
    for (const { watched } of changes) if (watched.rule.exec) await this.#exec(service, watched.rule.exec);
    if (!wants('restart', 'sync+restart')) return;
    for (const one of [service, ...followersOf(stack, service)]) {
      this.#tell(`${one}: restarting`);
      await this.#restart(one, await this.#running(one));
    }
  }

  /** Their containers keep what was copied. What has ended is started again by its policy: it is met then. */
  async #restart(service: string, rows: readonly TaskRow[]): Promise<void> {
    const { shell, connection, stack } = this.#t;
    const graceMs = stack.services[service]?.container.stopGraceMs ?? 0;
    for (const row of await restartInPlace(shell.clock, connection, rows, graceMs)) this.#has(row);
    this.#tell(`${service}: restarted ${rows.length} task(s)`);
  }

  #has(row: TaskRow): void {
    this.#known.add(processOf(row));
    this.#knownTasks.add(row.task?.id ?? '');
  }

  async #sync({ service, rule }: Watched, change: TreeChange): Promise<void> {
    await this.#meet(service);
    const tasks = (await this.#running(service)).map(({ task }) => task?.id ?? '');
    const place = { path: rule.path, target: rule.target ?? '' };
    await syncInto(this.#t.connection, tasks, place, change);
    const what = filesText(place, [...change.changed, ...change.gone]);
    this.#tell(`${service}: copied ${what} to ${rule.target} of ${tasks.length} task(s)`);
  }

  /** A new task (it went elsewhere, or the service grew) lacks what was copied, and one that crashed may: nothing is lost in silence. */
  async #meetAll(): Promise<void> {
    for (const service of new Set(this.#watched.filter(({ touched }) => touched.size > 0).map((one) => one.service)))
      await this.#meet(service).catch((error: unknown) => say(this.#t.shell, `warning: ${service}: ${messageOf(error)}`));
    this.#metAt = this.#t.shell.clock.monotonic();
  }

  /** Containers that came since get all that was copied so far, and run what is run after it. */
  async #meet(service: string): Promise<void> {
    const rules = this.#watched.filter((one) => one.service === service && one.rule.target !== undefined && one.touched.size > 0);
    for (const row of await this.#running(service)) {
      const process = processOf(row);
      if (this.#known.has(process)) continue;
      try {
        const isNew = !this.#knownTasks.has(row.task?.id ?? '');
        for (const watched of rules) await this.#giveAgain(row, watched, isNew ? 'is new' : 'was started again');
        // One that crashed had it when it began, as a rule: to end it again for that would help nobody.
        if (isNew && rules.some(({ rule }) => rule.action === 'sync+restart')) await this.#restart(service, [row]);
        this.#has(row);
      } catch (error) {
        // One that ends again and again is tried again and again, and told of once.
        if (!this.#toldOf.has(process)) say(this.#t.shell, `warning: ${service}: ${messageOf(error)}`);
        this.#toldOf.add(process);
      }
    }
  }

  async #giveAgain(row: TaskRow, { service, rule, seen, touched }: Watched, why: string): Promise<void> {
    const place = { path: rule.path, target: rule.target ?? '' };
    const change = { changed: [...touched].filter((below) => seen.has(below)), gone: [...touched].filter((below) => !seen.has(below)) };
    await syncInto(this.#t.connection, [row.task?.id ?? ''], place, change);
    this.#tell(`${service}: copied ${filesText(place, [...touched])} again to ${rule.target} of ${row.task?.name ?? ''}, which ${why}`);
    if (rule.exec) await this.#execIn(row, rule.exec);
  }

  async #exec(service: string, exec: NonNullable<WatchRule['exec']>): Promise<void> {
    for (const row of await this.#running(service)) await this.#execIn(row, exec);
  }

  async #execIn({ task }: TaskRow, exec: NonNullable<WatchRule['exec']>): Promise<void> {
    const { shell, connection } = this.#t;
    const value = {
      ...{ task: task?.id ?? '', stack: '', service: '', index: 0, argv: exec.command, tty: false, stdin: false },
      ...{ user: exec.user, workingDir: exec.workingDir, env: exec.environment, columns: 0, rows: 0 },
    };
    const call = openBidi<ExecRequest, ExecResponse>(connection.api.exec(), undefined, connection.target);
    await call.send({ message: { $case: 'start', value } });
    for await (const { message } of call.messages) {
      if (message?.$case === 'stdout' || message?.$case === 'stderr') await writeAll(shell.stderr, message.value);
      else if (message?.$case === 'exitCode' && message.value !== 0)
        say(shell, `warning: ${exec.command[0] ?? ''} ended with ${message.value} in ${task?.name ?? ''}`);
      if (message?.$case === 'exitCode') break;
    }
    this.#tell(`${task?.service ?? ''}: ran ${exec.command.join(' ')} in ${task?.name ?? ''}`);
  }

  async #running(service: string): Promise<TaskRow[]> {
    const { connection, stack } = this.#t;
    const { tasks } = await callUnary(connection.api, 'listTasks', { stack: stack.name }, { target: connection.target });
    return tasks.filter((row) => row.task?.service === service && isRunning(row));
  }

  #tell(line: string): void {
    if (!this.#t.quiet) say(this.#t.shell, line);
  }
}

/** What the rule ignores, and what the build does not see: the same files would not be in the image. */
async function filterOf(rule: WatchRule, build: BuildWish | undefined): Promise<TreeFilter> {
  const text = build === undefined ? '' : await readFile(join(build.context, '.dockerignore'), 'utf8').catch(() => '');
  const atContext = ignoreBy(text.split('\n'));
  const own = ignoreBy(['.git', ...rule.ignore]);
  const isWithin = build !== undefined && `${rule.path}/`.startsWith(`${build.context}/`);
  const prefix = isWithin ? rule.path.slice(build.context.length + 1) : '';
  const fits = ignoreBy(rule.include);
  return {
    ignored: (below) => own(below) || (isWithin && atContext([prefix, below].filter((part) => part !== '').join('/'))),
    wanted: (below) => rule.include.length === 0 || fits(below),
  };
}
