import { WeftError } from '#base/errors.js';
import { signalWhenItRuns } from './node-service/attach.js';

const notThere = () => new WeftError('NOT_FOUND', 'the container a does not run');

function runtime(failures: Error[]) {
  const sent: string[] = [];
  const kill = async (id: string, signal: string): Promise<void> => {
    const failure = failures.shift();
    if (failure) throw failure;
    sent.push(`${id} ${signal}`);
  };
  return { sent, deps: { runtime: { kill, attach: () => Promise.reject(new Error('not asked for')) } } };
}

describe('a signal of an attached caller', () => {
  it('reaches a process that has not begun yet, once, when it has', async () => {
    const { sent, deps } = runtime([notThere(), notThere()]);
    await signalWhenItRuns(deps, 'a', 'SIGINT', new Promise(() => undefined));
    expect(sent).toEqual(['a SIGINT']);
  });

  it('is given up when the process has ended, or cannot be sent', async () => {
    const ended = runtime(Array.from({ length: 9 }, notThere));
    await expect(signalWhenItRuns(ended.deps, 'a', 'SIGINT', Promise.resolve())).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const wrong = runtime([new WeftError('BAD_VALUE', 'no signal')]);
    await expect(signalWhenItRuns(wrong.deps, 'a', 'SIGNO', new Promise(() => undefined))).rejects.toMatchObject({ code: 'BAD_VALUE' });
    expect([...ended.sent, ...wrong.sent]).toEqual([]);
  });
});
