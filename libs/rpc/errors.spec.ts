import { WeftError } from '#base/errors.js';
import { fromDetail, plainly, toDetail } from './errors.js';

it.each([
  [
    'No connection established. Last error: Error: connect ECONNREFUSED 192.0.2.1:7700. Resolution note: ',
    'connect ECONNREFUSED 192.0.2.1:7700',
  ],
  ['No connection established. Last error: connect ETIMEDOUT. Resolution note: none', 'connect ETIMEDOUT'],
  ['Connection dropped', 'Connection dropped'],
])('says plainly why nobody could be reached: %s', (details, expected) => expect(plainly(details)).toBe(expected));

it('an error keeps its lines, and what of the Compose model it is about, on its way', () => {
  const path = ['services', 'db', 'networks', 'front.end', 'ipv4_address'];
  const error = new WeftError('BAD_VALUE', {
    what: 'service db cannot have 10.1.0.7',
    why: 'a task holds it',
    hint: 'Choose another.',
    path,
  });
  expect(fromDetail(toDetail(error))).toMatchObject({ code: 'BAD_VALUE', what: error.what, why: error.why, hint: error.hint, path });
  expect(fromDetail(toDetail(new WeftError('NOT_FOUND', 'no')))).toMatchObject({ path: [], why: undefined });
});
