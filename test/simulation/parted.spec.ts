import { histories } from './batches.js';
import { PARTED } from './history.js';

/** What is to stop on partition has stopped before it runs elsewhere. */
histories(PARTED, { share: 0.2, found: [1937] });
