import { histories } from './batches.js';
import { EVERYTHING } from './history.js';

histories(EVERYTHING, { share: 0.3, found: [884] });
