/** A kernel in memory, as strict as the real one about order and existence. */
import { messageOf } from '#base/errors.js';
import { applyOperation } from '#overlay/apply.js';
import type { KernelState } from '#overlay/kernel-state.js';
import { emptyKernel, emptyNamespace } from '#overlay/kernel-state.js';
import type { Operation } from '#overlay/operation.js';
import type { Failure, Kernel, ObserveOptions } from './kernel.js';

export class FakeKernel implements Kernel {
  /** Change it to play drift. */
  readonly state: KernelState = emptyKernel();
  /** Every operation that was applied, in order. */
  readonly applied: Operation[] = [];
  /** How often everything was read. */
  observations = 0;

  observe(like: KernelState, options: ObserveOptions = {}): Promise<KernelState> {
    this.observations++;
    const names = options.only ?? Object.keys(this.state.namespaces);
    const seen = structuredClone(this.state);
    const namespaces = Object.fromEntries(
      names.flatMap((ns) => {
        const space = seen.namespaces[ns];
        const { flows, doors } = like.namespaces[ns] ?? emptyNamespace();
        return space ? [[ns, { ...space, flows, doors }]] : [];
      }),
    );
    return Promise.resolve({ namespaces });
  }

  tables(ns: string): ReturnType<Kernel['tables']> {
    const { nft, vips, elements } = this.state.namespaces[ns] ?? emptyNamespace();
    return Promise.resolve(structuredClone({ nft, vips, elements }));
  }

  apply(operations: readonly Operation[]): Promise<{ failed: Failure[] }> {
    const failed: Failure[] = [];
    for (const operation of operations) {
      try {
        applyOperation(this.state, operation);
        this.applied.push(operation);
      } catch (thrown) {
        failed.push({ operation, error: messageOf(thrown) });
      }
    }
    return Promise.resolve({ failed });
  }
}
