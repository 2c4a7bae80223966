import { histories } from './batches.js';
import { OUT_OF_SIGHT } from './history.js';

histories(OUT_OF_SIGHT, { share: 0.2 });
