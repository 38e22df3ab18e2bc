-- Least privilege for tokengov on LiteLLM's Postgres. Run once as the database's owner, after creating the login:
--     create role tokengov_reader login password '...';
-- Column grants, not table grants: prompts, responses, addresses and passwords stay out of reach of this role
-- (messages, response, proxy_server_request, requester_ip_address, api_base, password).
-- A column that your LiteLLM version does not have is skipped, so the script fits old and new versions alike;
-- run it again after an upgrade.
do $grant$
declare
    wanted record;
    columns text;
begin
    for wanted in
        select * from (values
            ('LiteLLM_SpendLogs', array[
                'request_id', 'litellm_call_id', 'call_type', 'api_key', 'spend', 'total_tokens', 'prompt_tokens',
                'completion_tokens', 'startTime', 'endTime', 'completionStartTime', 'model', 'model_id', 'model_group',
                'custom_llm_provider', 'user', 'metadata', 'cache_hit', 'request_tags', 'team_id', 'session_id',
                'status', 'mcp_namespaced_tool_name', 'organization_id', 'request_duration_ms', 'created_at',
                'updated_at']),
            ('LiteLLM_TeamTable', array[
                'team_id', 'team_alias', 'organization_id', 'metadata', 'max_budget', 'soft_budget', 'budget_duration',
                'budget_reset_at', 'blocked', 'tpm_limit', 'rpm_limit', 'created_at', 'updated_at']),
            ('LiteLLM_DeletedTeamTable', array[
                'id', 'team_id', 'team_alias', 'organization_id', 'metadata', 'created_at', 'deleted_at']),
            ('LiteLLM_VerificationToken', array[
                'token', 'key_alias', 'team_id', 'user_id', 'organization_id', 'project_id', 'metadata', 'max_budget',
                'soft_budget_cooldown', 'blocked', 'expires', 'created_at', 'updated_at']),
            ('LiteLLM_DeletedVerificationToken', array[
                'id', 'token', 'key_alias', 'team_id', 'user_id', 'organization_id', 'created_at', 'deleted_at']),
            ('LiteLLM_UserTable', array[
                'user_id', 'user_email', 'user_role', 'teams', 'organization_id', 'max_budget', 'created_at',
                'updated_at']),
            ('LiteLLM_OrganizationTable', array[
                'organization_id', 'organization_alias', 'budget_id', 'metadata', 'created_at', 'updated_at']),
            ('LiteLLM_BudgetTable', array[
                'budget_id', 'max_budget', 'soft_budget', 'budget_duration', 'budget_reset_at', 'tpm_limit',
                'rpm_limit', 'created_at', 'updated_at']),
            ('LiteLLM_DailyUserSpend', array['date', 'api_requests']),   -- proof that an empty day is a zero
            ('LiteLLM_DailyTeamSpend', array['date', 'api_requests'])
        ) as t (table_name, column_names)
    loop
        select string_agg(quote_ident(c.column_name), ', ' order by c.ordinal_position) into columns
        from information_schema.columns as c
        where c.table_schema = 'public' and c.table_name = wanted.table_name
            and c.column_name = any (wanted.column_names);
        if columns is not null then
            execute format('grant select (%s) on public.%I to tokengov_reader', columns, wanted.table_name);
        end if;
    end loop;
end
$grant$;
grant usage on schema public to tokengov_reader;
