/** The machines of one spec file, and what they boot; told by run.sh in the environment. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Machine } from './machine.js';

/** Enough for an agent, containerd and etcd; three of them fit into a small host. */
const MEMORY_MIB = 1024;
/** UDP ports of the machines' two LANs on loopback: of this process, so that two runs do not meet. */
const FIRST_LAN_PORT = 27_600;
const LAN_PORTS = 1_000;

function given(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(`${name} is not set: start these tests by \`npm run test:vm\``);
  return value;
}

/** `acts` for each machine at once. */
export const onAll = <T>(machines: readonly Machine[], acts: (machine: Machine) => Promise<T>): Promise<T[]> =>
  Promise.all(machines.map(acts));

/** Boots machines side by side. */
export async function boot(count: number, memoryMiB = MEMORY_MIB): Promise<{ machines: Machine[]; stop: () => Promise<void> }> {
  const dir = mkdtempSync(join(given('WEFT_VM_DIR'), 'machines-'));
  const lanPort = FIRST_LAN_PORT + ((process.pid * 2) % LAN_PORTS);
  const options = { dir, image: given('WEFT_VM_IMAGE'), project: given('WEFT_VM_PROJECT'), accel: process.env['WEFT_VM_ACCEL'] ?? 'tcg' };
  const machines = Array.from({ length: count }, (_, i) => new Machine(i + 1, { ...options, lanPort, memoryMiB }));
  const stop = async (): Promise<void> => {
    await onAll(machines, (m) => m.stop());
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    await onAll(machines, (m) => m.start());
  } catch (error) {
    await stop();
    throw error;
  }
  return { machines, stop };
}
