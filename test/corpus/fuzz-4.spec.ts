/** The mutated files, part 4 of 4. */
import { fuzzPart } from './fuzz.js';

fuzzPart(3);
