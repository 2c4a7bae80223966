/** Every case of the corpus: its canonical output, or its refusal, is what stands beside it; what is printed reads as the same model. */
import { fileURLToPath } from 'node:url';
import { judgeFolder } from './report.js';

const results = judgeFolder(fileURLToPath(new URL('cases', import.meta.url)));

it('has a case for each rule of the language', () => expect(results.length).toBeGreaterThan(60));

it.each(results.map((result) => [result.one.name, result] as const))('%s', (_, { one, fault }) => {
  expect(fault).toBeUndefined();
  // A case that expects nothing would test nothing.
  expect((one.expected === undefined) !== (one.refused === undefined)).toBe(true);
});
