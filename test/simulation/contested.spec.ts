import { histories } from './batches.js';
import { CONTESTED } from './history.js';

histories(CONTESTED, { share: 0.2, found: [646, 1126, 1681, 2008] });
