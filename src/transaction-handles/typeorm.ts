import { TransactionRequired } from '../errors.ts'
import { has, type Library, through } from './library.ts'

/** TypeORM's `EntityManager` of a transaction; a `DataSource` is none. */
export interface TypeOrmTransactionHandle {
  // biome-ignore lint/suspicious/noExplicitAny: an entity of the caller's
  getRepository(target: any): unknown
  readonly createQueryRunner?: never
}

interface QueryRunner {
  readonly isTransactionActive: boolean
  readonly isReleased: boolean
  query(text: string, parameters: unknown[]): Promise<unknown[]>
}

const ADVICE = 'pass the manager of dataSource.transaction(async (manager) => …)'

export const typeorm: Library = {
  knows: (handle) => has(handle, 'query') && (has(handle, 'getRepository') || has(handle, 'startTransaction')),
  open(handle: { readonly queryRunner?: QueryRunner } & QueryRunner) {
    const runner = has(handle, 'startTransaction') ? handle : handle.queryRunner
    if (!runner)
      throw new TransactionRequired(has(handle, 'createQueryRunner') ? 'DataSource' : 'EntityManager', ADVICE)
    if (!runner.isTransactionActive || runner.isReleased) throw new TransactionRequired('EntityManager', ADVICE)
    return through('EntityManager', (text, values) => runner.query(text, [...values]))
  },
}
