/**
 * Keeps a kernel as it should be: `set` the whole wish, as often as you like. The first `set` reads everything; later
 * ones compare with what was applied last, so that a change costs by its size. `repair` reads everything again and puts
 * back what somebody else changed.
 */
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { silentLog } from '#base/log.js';
import { diff } from '#overlay/diff.js';
import { describeFault, faultsBetween, type Fault } from '#overlay/faults.js';
import type { KernelState } from '#overlay/kernel-state.js';
import { NODE_NAMESPACE } from '#overlay/kernel-state.js';
import type { Operation } from '#overlay/operation.js';
import { describe } from '#overlay/operation.js';
import { sparesIn, withoutSpares } from '#overlay/spares.js';
import type { Failure, Kernel } from './kernel.js';

/** Lines of one repair in the log. */
const MOST_LOGGED = 50;

export interface KernelReconcilerOptions {
  kernel: Kernel;
  log?: Log;
}

export interface SetResult {
  /** What was done, in order. */
  operations: Operation[];
  /** What could not be done, after a second try. The next `set` or `repair` tries again. */
  failed: Failure[];
}

export interface RepairResult {
  /** One line for each thing put back. */
  repaired: string[];
  /** What was wrong, without what followed from it; left out if nothing was. */
  wrong?: string[];
  failed: Failure[];
}

/** A reading of the kernel that nothing waits for: wishes are set meanwhile, and what they did is noted here. */
interface Look {
  changed: Operation[];
}

export class KernelReconciler {
  readonly #kernel: Kernel;
  readonly #log: Log;
  /** As the last `set` said. */
  #wish: KernelState | undefined;
  /** The same without the spares that are still to be made. */
  #desired: KernelState | undefined;
  /** What the kernel holds as far as we know; undefined: read it first. */
  #known: KernelState | undefined;
  /** Readings under way. */
  readonly #looks = new Set<Look>();
  /** One change at a time. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor({ kernel, log = silentLog }: KernelReconcilerOptions) {
    this.#kernel = kernel;
    this.#log = log;
  }

  /** Makes the kernel as `desired`. Resolves when it is, or with what failed; rejects only if the kernel cannot be read. */
  set(desired: KernelState): Promise<SetResult> {
    return this.#enqueue(() => this.#set(desired));
  }

  /** What a setting of the node's namespace was last made as; undefined: not made by us (yet). @param key as sysctl(8) says it */
  madeSetting(key: string): string | undefined {
    return this.#known?.namespaces[NODE_NAMESPACE]?.sysctls[key];
  }

  /**
   * Reads everything, and puts right what is not as the last `set` said. Does nothing before the first `set`. A `set` does not wait
   * for the reading, only for what is put right.
   */
  repair(): Promise<RepairResult> {
    return this.#beside((desired, observed) => this.#repair(desired, observed), NOTHING_WRONG);
  }

  /** Reads everything, and says what is not as the last `set` said. Changes nothing, and holds up no `set`. */
  faults(): Promise<Fault[]> {
    return this.#beside((desired, observed) => Promise.resolve(faultsBetween(desired, observed)), []);
  }

  /**
   * Which of these task namespaces have nft tables that are not as the last `set` said, for whose changes there is no news.
   * Changes nothing.
   */
  async glance(namespaces: readonly string[]): Promise<string[]> {
    const look = await this.#beginLook();
    try {
      const found = await Promise.all(namespaces.map(async (ns) => ((await this.#areTablesRight(ns)) ? [] : [ns])));
      // What was changed meanwhile is looked at the next time.
      return found.flat().filter((ns) => !look.changed.some((o) => o.ns === ns));
    } finally {
      this.#looks.delete(look);
    }
  }

  /** Removes everything of ours from the node's namespace, and the tasks' namespaces. Sysctls stay as they are. */
  removeAll(): Promise<SetResult> {
    return this.#enqueue(() => {
      this.#known = undefined;
      return this.#set({ namespaces: {} });
    });
  }

  /** What would `set(desired)` do? */
  plan(desired: KernelState): Promise<Operation[]> {
    return this.#enqueue(async () => diff(desired, this.#known ?? (await this.#kernel.observe(desired))));
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** Begins between two changes: of what is changed from then on, all is noted. */
  #beginLook(): Promise<Look> {
    return this.#enqueue(() => {
      const look: Look = { changed: [] };
      this.#looks.add(look);
      return Promise.resolve(look);
    });
  }

  /**
   * Reads everything, and has `judge` compare it with the wish while nothing changes. If something was set meanwhile, what that did
   * explains what it touched; if anything else differs, all is read once more, and undisturbed.
   */
  async #beside<T>(judge: (desired: KernelState, observed: KernelState) => Promise<T>, nothing: T): Promise<T> {
    const look = await this.#beginLook();
    try {
      const observed = this.#desired && (await this.#observeOrMissed(this.#desired, look));
      return await this.#enqueue(async () => {
        const desired = this.#desired;
        if (!desired) return nothing;
        if (look.changed.length > 0 && observed && isExplained(diff(desired, observed), look.changed)) return nothing;
        const isWhole = observed && look.changed.length === 0;
        return judge(desired, isWhole ? observed : await this.#kernel.observe(desired));
      });
    } finally {
      this.#looks.delete(look);
    }
  }

  /** undefined when it failed beside a change: a namespace that is being removed cannot be read. */
  async #observeOrMissed(desired: KernelState, look: Look): Promise<KernelState | undefined> {
    try {
      return await this.#kernel.observe(desired);
    } catch (error) {
      if (look.changed.length > 0) return undefined;
      throw error;
    }
  }

  async #set(wish: KernelState): Promise<SetResult> {
    this.#wish = wish;
    const before = this.#known ?? (await this.#kernel.observe(wish));
    const plan = diff(wish, before);
    const later = sparesIn(plan);
    const { operations, desired } = withoutSpares(later, plan, wish);
    const result = await this.#make(desired, before, operations);
    if (later.size > 0 && result.failed.length === 0)
      void this.#enqueue(() => this.#makeSpares(wish)).catch((error: unknown) =>
        this.#log.warn({ error: messageOf(error) }, 'could not make spare namespaces'),
      );
    return result;
  }

  /** Behind a `set`: what waited for that has gone on. Another `set` that came meanwhile has seen to it itself. */
  async #makeSpares(wish: KernelState): Promise<void> {
    if (this.#wish === wish && this.#known) await this.#make(wish, this.#known, diff(wish, this.#known));
  }

  async #make(desired: KernelState, before: KernelState, operations: readonly Operation[]): Promise<SetResult> {
    this.#desired = desired;
    const first = await this.#apply(operations);
    const fresh = Object.keys(desired.namespaces).filter((ns) => ns !== NODE_NAMESPACE && !before.namespaces[ns]);
    const wrong = first.length > 0 ? await this.#again(desired, first) : await this.#check(desired, fresh);
    const failed = await this.#apply(wrong);
    this.#known = failed.length === 0 ? desired : undefined;
    return { operations: [...operations, ...wrong], failed };
  }

  /** What is left to do after failures. Flows are the one thing that cannot be read back. */
  async #again(desired: KernelState, failures: readonly Failure[]): Promise<Operation[]> {
    const flows = failures
      .map((f) => f.operation)
      .filter((o) => (o.op === 'forgetFlows' || o.op === 'forgetDoor' || o.op === 'forgetDatagrams') && desired.namespaces[o.ns]);
    return [...diff(desired, await this.#kernel.observe(desired)), ...flows];
  }

  /** What is not as it should be in namespaces just made: a container is about to start in them. */
  async #check(desired: KernelState, fresh: readonly string[]): Promise<Operation[]> {
    if (fresh.length === 0) return [];
    const seen = await this.#kernel.observe(desired, { only: fresh });
    const part = Object.fromEntries(fresh.map((ns) => [ns, desired.namespaces[ns] ?? missingNamespace(ns)]));
    return diff({ namespaces: part }, seen);
  }

  async #areTablesRight(ns: string): Promise<boolean> {
    const desired = this.#desired?.namespaces[ns];
    if (!desired) return true;
    const seen = { ...desired, ...(await this.#kernel.tables(ns)) };
    return diff({ namespaces: { [ns]: desired } }, { namespaces: { [ns]: seen } }).length === 0;
  }

  async #repair(desired: KernelState, observed: KernelState): Promise<RepairResult> {
    const operations = diff(desired, observed);
    if (operations.length === 0) {
      this.#known = desired;
      return NOTHING_WRONG;
    }
    const wrong = faultsBetween(desired, observed).map((f) => describeFault(f));
    const repaired = operations.map(describe);
    this.#log.warn(
      { wrong: wrong.slice(0, MOST_LOGGED), repaired: repaired.slice(0, MOST_LOGGED) },
      `somebody changed ${wrong.length} thing(s) in the kernel; put back`,
    );
    const failed = await this.#apply(operations);
    this.#known = failed.length === 0 ? desired : undefined;
    return { repaired, wrong, failed };
  }

  async #apply(operations: readonly Operation[]): Promise<Failure[]> {
    if (operations.length === 0) return [];
    for (const look of this.#looks) look.changed.push(...operations);
    const { failed } = await this.#kernel.apply(operations);
    for (const { operation, error } of failed) this.#log.warn({ error }, `could not ${describe(operation)}`);
    return failed;
  }
}

const NOTHING_WRONG: RepairResult = { repaired: [], failed: [] };

/** Whether all of `operations` were just carried out: what was read before needs them, and the kernel does not any more. */
function isExplained(operations: readonly Operation[], changed: readonly Operation[]): boolean {
  const done = new Set(changed.map((o) => JSON.stringify(o)));
  return operations.every((o) => done.has(JSON.stringify(o)));
}

function missingNamespace(ns: string): never {
  throw new WeftError('INTERNAL', `namespace ${ns} is not in the wish`);
}
