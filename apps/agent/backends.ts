/** What clients of this node are led to: the addresses behind virtual addresses and published ports. */
import type { ViewByKind } from '#model/view-state.js';

/** One text for each way to a task that the view opens. */
export function backendsOf(view: Pick<ViewByKind, 'vips' | 'publications'>): ReadonlySet<string> {
  const found = new Set<string>();
  for (const vip of view.vips)
    for (const address of [...vip.backends, ...(vip.backends6 ?? [])]) found.add(`${vip.networkId} ${vip.ipv4} ${address}`);
  for (const p of view.publications)
    for (const { taskId } of p.backends) found.add(`${p.protocol} ${p.hostIp ?? ''} ${p.published} ${taskId}`);
  return found;
}

/** Whether something was led to `before` that is not any more: it is about to end. */
export function losesBackend(before: ReadonlySet<string>, after: ReadonlySet<string>): boolean {
  for (const backend of before) if (!after.has(backend)) return true;
  return false;
}
