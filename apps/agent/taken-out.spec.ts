import { TakenOut } from './taken-out.js';

it('a node has got as far as the last of its parts, and says so once when the last of them took somebody out', () => {
  const at = { kernel: 4, names: 3 };
  const told: number[] = [];
  const out: TakenOut = new TakenOut([() => at.kernel, () => at.names], () => void told.push(out.revision));
  out.advanced();
  expect([out.revision, told]).toEqual([3, []]);
  at.kernel = 7;
  out.lost(7);
  at.names = 6;
  out.advanced();
  expect(told).toEqual([]);
  at.names = 8;
  out.advanced();
  out.advanced();
  expect(told).toEqual([7]);
  at.kernel = 9;
  at.names = 9;
  out.lost(9);
  expect(told).toEqual([7, 9]);
});
