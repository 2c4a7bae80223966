import { histories } from './batches.js';
import { DRAINED } from './history.js';

histories(DRAINED, { share: 0.1 });
