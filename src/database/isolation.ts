/** What each transaction of ours says when it begins. */
export const READ_COMMITTED = 'read committed'

/** The level that a statement by itself is in: the role's or the database's own, which may be another. */
export const DEFAULT_ISOLATION = `select current_setting('default_transaction_isolation') as isolation`
