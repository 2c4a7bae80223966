/** What a container's process sees and may do: real containerd only. */
import { RealHarness } from './real-harness.js';

let h: RealHarness;
beforeAll(async () => {
  h = await RealHarness.start();
}, 60_000);
afterAll(() => h?.destroy(), 60_000);

test('runs and prints', async () => {
  const { stdout, stderr } = await h.sh('echo hello; echo oops >&2');
  expect(stdout).toBe('hello\n');
  expect(stderr).toBe('oops\n');
});
