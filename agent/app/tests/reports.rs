//! `report`, `top` and `tail` as a person or a script meets them, over ledgers that the real writer wrote.

mod reports {
    mod budgets;
    mod support;
    mod table;
    mod values;
    mod wrong;

    mod tail;
    mod top;
}
