import type { ConsumerOptions } from '../consumer.ts'
import { AtLeastOnce } from './at-least-once.ts'
import { AtMostOnce } from './at-most-once.ts'
import type { BatchSize } from './batch-size.ts'
import { ExactlyOnce } from './exactly-once.ts'
import type { Floors } from './floors.ts'
import { Leases } from './leases.ts'
import type { Mode } from './mode.ts'
import type { OwnRows } from './own-rows.ts'
import type { Seat } from './seat.ts'

export interface ModeParts<Tx> {
  readonly floors: Floors
  readonly own: OwnRows<Tx>
  readonly size: BatchSize
}

/** How deliveries are taken and settled under a guarantee. */
export function modeOf<Tx>(
  seat: Seat<Tx>,
  { guarantee, leaseMs }: Pick<Required<ConsumerOptions>, 'guarantee' | 'leaseMs'>,
  parts: ModeParts<Tx>,
): Mode {
  if (guarantee === 'at-most-once') return new AtMostOnce(seat, parts)
  if (guarantee === 'exactly-once-effects') return new ExactlyOnce(seat, parts)
  return new AtLeastOnce(seat, { ...parts, leases: new Leases(seat, leaseMs) })
}
