/** The kernel as a port: read what is there of ours, and apply a plan. LinuxKernel is the real one, FakeKernel its twin. */
import type { KernelState, NamespaceState } from '#overlay/kernel-state.js';
import type { Operation } from '#overlay/operation.js';

export interface Failure {
  operation: Operation;
  error: string;
}

export interface ObserveOptions {
  /** Task namespaces to read, and not the node's own; everything if left out. */
  only?: readonly string[];
}

export interface Kernel {
  /**
   * Everything of ours. `like` tells what to ask for where the kernel keeps no list: a sysctl belongs to nobody, so only
   * those that `like` names are read, and `flows` and `doors` are taken as `like` has them.
   */
  observe(like: KernelState, options?: ObserveOptions): Promise<KernelState>;
  /** Our nft tables in the namespace of a task, read for little; empty if there is no such namespace. */
  tables(ns: string): Promise<Pick<NamespaceState, 'nft' | 'vips' | 'elements'>>;
  /**
   * Applies all of `operations` in order, going on after a failure where that is safe. Namespaces that it made can be
   * observed right after it for nothing, by `only`: what filled them has read them back.
   */
  apply(operations: readonly Operation[]): Promise<{ failed: Failure[] }>;
}
