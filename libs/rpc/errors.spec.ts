import { plainly } from './errors.js';

it.each([
  [
    'No connection established. Last error: Error: connect ECONNREFUSED 192.0.2.1:7700. Resolution note: ',
    'connect ECONNREFUSED 192.0.2.1:7700',
  ],
  ['No connection established. Last error: connect ETIMEDOUT. Resolution note: none', 'connect ETIMEDOUT'],
  ['Connection dropped', 'Connection dropped'],
])('says plainly why nobody could be reached: %s', (details, expected) => expect(plainly(details)).toBe(expected));
