/** Asks the nodes whether the paths that a stack mounts are there, before anything of it starts. */
import { messageOf } from '#base/errors.js';
import type { Stack } from '#model/stack.js';
import { judgePaths, pathNeeds, pathsByNode } from '#planner/host-paths.js';
import type { ClusterState } from '#planner/cluster-state.js';
import type { PlanStep } from '#planner/plan-step.js';
import { callUnary } from '#rpc/client.js';
import type { NodeClients } from './node-clients.js';

const ASK_TIMEOUT_MS = 5_000;

/**
 * @returns service → what is made for it
 * @throws NOT_FOUND naming paths and nodes; UNAVAILABLE naming nodes that do not answer
 */
export async function checkHostPaths(
  state: ClusterState,
  clients: Pick<NodeClients, 'reach'>,
  stack: Stack,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const needs = pathNeeds(state, stack);
  const kinds = new Map<string, ReadonlyMap<string, string>>();
  const unasked = new Map<string, string>();
  await Promise.all(
    [...pathsByNode(needs)].map(async ([id, { node, paths }]) => {
      const { client, target } = clients.reach(node);
      try {
        const answer = await callUnary(client, 'checkPaths', { paths }, { target, timeoutMs: ASK_TIMEOUT_MS });
        kinds.set(id, new Map(paths.map((path, i) => [path, answer.kinds[i] ?? 'missing'])));
      } catch (error) {
        unasked.set(id, messageOf(error));
      }
    }),
  );
  return judgePaths(stack.name, needs, { kinds, unasked });
}

/** Says in the steps of a plan which directories will be made. */
export function tellMade(steps: readonly PlanStep[], made: ReadonlyMap<string, readonly string[]>): void {
  for (const step of steps) if (step.kind === 'service') step.details.push(...(made.get(step.name) ?? []));
}
