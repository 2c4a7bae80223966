import { layout } from './layout.js';
import { logSource, stdioOf } from './log-source.js';
import { makeTask } from './spec-kit.js';

const PLACES = layout('/data', '/run/weft');
const ID = 'a'.repeat(16);
const task = (more: object = {}) => makeTask(ID, { container: { ...makeTask(ID).container, ...more } });

it('is both outputs, and no input', () => {
  expect(logSource(task(), PLACES)).toEqual({
    container: ID,
    stdout: `/run/weft/stdio/${ID}.out`,
    stderr: `/run/weft/stdio/${ID}.err`,
    file: `/data/logs/${ID}/container.log`,
  });
  expect(stdioOf(task(), PLACES)).not.toHaveProperty('stdin');
});

it('is one output with a terminal, and an input that stays open if the service says so', () => {
  const both = task({ tty: true, stdinOpen: true });
  expect(logSource(both, PLACES)).not.toHaveProperty('stderr');
  expect(logSource(both, PLACES).stdin).toBe(`/run/weft/stdio/${ID}.in`);
  expect(stdioOf(both, PLACES).stdin).toBe(`/run/weft/stdio/${ID}.in`);
});

it('has the limits of the service, or keeps nothing', () => {
  expect(logSource(task({ logging: { maxBytes: 5_000, maxFiles: 2 } }), PLACES)).toMatchObject({ maxBytes: 5_000, maxFiles: 2 });
  expect(logSource(task({ logging: { none: true } }), PLACES)).toMatchObject({ discard: true });
});
