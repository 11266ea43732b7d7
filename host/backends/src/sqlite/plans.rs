//! Every statement of a session finds its rows by an index, however many rows the table has, analysed or not.

use rusqlite::Connection;
use switchover_core::Layout;

use super::statements::Statements;
use super::{schema, side};
use crate::table::SessionTable;

const SIZES: [u32; 4] = [0, 300, 3_000, 300_000];
/// A third of them are marks.
const FILL_SIDES: &str = "WITH RECURSIVE n (i) AS (SELECT ?1 + 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2) \
                          INSERT INTO switchover_key SELECT 'm', printf('key%08d', i), i, \
                          CASE i % 3 WHEN 0 THEN i END, i, 0 FROM n";

fn plan(connection: &Connection, sql: &str) -> String {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let parameters = vec![rusqlite::types::Null; statement.parameter_count()];
    let steps = statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3)).unwrap();
    steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
}

#[test]
fn every_statement_of_a_session_has_its_index() {
    for layout in Layout::ALL {
        every_statement_has_its_index(&SessionTable::parse(None, layout).unwrap());
    }
}

fn every_statement_has_its_index(table: &SessionTable) {
    let statements = Statements::of(table.clone(), Vec::new());
    let connection = Connection::open_in_memory().unwrap();
    for sql in schema::missing(&connection, table).unwrap().into_iter().chain(side::missing(&connection).unwrap()) {
        connection.execute_batch(&sql).unwrap();
    }
    let fill = format!(
        "WITH RECURSIVE n (i) AS (SELECT ?1 + 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2) \
         INSERT INTO {} SELECT printf('key%08d', i), 'payload', \
         CASE i % 3 WHEN 0 THEN '2016-01-01 00:00:00' ELSE '2999-01-01 00:00:00' END FROM n",
        table.table.quoted('"')
    );
    let mut rows = 0;
    for size in SIZES {
        if size > rows {
            connection.execute(&fill, [rows, size]).unwrap();
            connection.execute(FILL_SIDES, [rows, size]).unwrap();
        }
        rows = size;
        for analysed in [false, true] {
            if analysed {
                connection.execute_batch("ANALYZE").unwrap();
            }
            for (name, sql) in statements.all().into_iter().chain(side::ALL) {
                let plan = plan(&connection, sql);
                let sorts = plan.contains("TEMP B-TREE");
                // In the order of the index, until the page is full.
                let pages = name == "scan_first" && plan.contains("USING INDEX");
                let scans = plan.contains("SCAN") && !pages;
                assert!(!sorts && !scans, "{name}, {size} rows, analysed: {analysed}: {plan}");
            }
        }
    }
}
