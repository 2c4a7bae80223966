/**
 * Runs in a machine, bundled: makes the kernel of this host as a node's view says, by the code that the agent has for it. It reads the
 * view on standard input and prints what failed. State stays with the kernel, and the node's keys in a file.
 *
 *   node host.mjs keys                  prints the public keys of this host
 *   node host.mjs features              prints what this kernel can make, as an agent tells it
 *   node host.mjs set   <request.json   {"id", "address", "view"}
 */
import { text } from 'node:stream/consumers';
import { hasSctp, probeFeatures } from '#linux/host-features.js';
import { LinuxKernel } from '#linux/linux-kernel.js';
import { KernelReconciler } from '#linux/reconciler.js';
import { findWireguard } from '#linux/wireguard.js';
import type { ViewByKind } from '#model/view-state.js';
import { nodeKernel } from '#overlay/node-kernel.js';
import { NodeTunnelKeys } from '../../apps/agent/tunnel-keys.js';

export interface SetRequest {
  id: string;
  address: string;
  view: ViewByKind;
}

const KEY_DIRECTORY = '/var/lib/weft-vm';
const keys = await NodeTunnelKeys.open(KEY_DIRECTORY, 1);

async function answer(verb: string | undefined): Promise<unknown> {
  if (verb === 'keys') return keys.publicKeys;
  if (verb === 'features') return { made: await probeFeatures(), sctp: await hasSctp(), wireguard: await findWireguard() };
  const { id, address, view } = JSON.parse(await text(process.stdin)) as SetRequest;
  const reconciler = new KernelReconciler({ kernel: new LinuxKernel({ secrets: keys }) });
  const tunnel = keys.forOverlay(view.members, id);
  const { failed } = await reconciler.set(nodeKernel(view, { nodeId: id, address, tunnel }));
  return failed;
}

process.stdout.write(JSON.stringify(await answer(process.argv[2])));
