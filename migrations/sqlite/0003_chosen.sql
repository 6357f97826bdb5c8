-- Why this provider was chosen for the attempt, in words. Attempts of programs that do not know of it have none.
alter table attempts add column chosen text;
