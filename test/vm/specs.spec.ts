/**
 * Specs of test/netns and test/contract on the kernel of a stock Debian, where nothing of them is skipped: networks of the drivers ipvlan (l2)
 * and macvlan, 802.1Q, encrypted networks by the kernel's own WireGuard, and limits of containers by cgroup v2. Their results count as tests of this run.
 */
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Machine } from './machine.js';
import { boot } from './machines.js';

const FILE_MS = 1_800_000;
const MEMORY_MIB = 2048;

let machine: Machine;
let stop = (): Promise<void> => Promise.resolve();

beforeAll(async () => {
  const booted = await boot(1, MEMORY_MIB);
  stop = booted.stop;
  [machine] = booted.machines as [Machine];
}, FILE_MS);
afterAll(() => stop(), 60_000);

it.each((process.env['WEFT_VM_SPECS'] ?? '').split(' ').filter(Boolean))(
  '%s.spec.ts passes, with nothing skipped',
  async (path) => {
    const name = basename(path);
    const report = `/tmp/${name}.json`;
    const jest = ['node', '--experimental-vm-modules', '--no-warnings', 'node_modules/jest/bin/jest.js', '-c', 'test/vm/guest.jest.mjs'];
    const argv = ['env', '-C', '/opt/weft', ...jest, '--runInBand', '--json', '--outputFile', report, `/${name}.spec`];
    const { stderr } = await machine.try(argv, { timeoutMs: FILE_MS });
    const text = await machine.run(['cat', report]).catch(() => Promise.reject(new Error(stderr)));
    writeFileSync(join(process.env['WEFT_VM_DIR'] ?? '', 'reports', `${name}.json`), text);
    process.stderr.write(stderr);
    const { numFailedTests, numPendingTests, numRuntimeErrorTestSuites } = JSON.parse(text) as Record<string, number>;
    expect({ numFailedTests, numPendingTests, numRuntimeErrorTestSuites }).toEqual({
      numFailedTests: 0,
      numPendingTests: 0,
      numRuntimeErrorTestSuites: 0,
    });
  },
  FILE_MS,
);
